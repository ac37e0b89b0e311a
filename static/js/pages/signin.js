// A one-time sign-in link: out of the address bar and into the form.  Nothing is sent: that is for the person.
import { $ } from "../dom.js";

function take() {
  // A mail program may have made %23 of #.
  const altered = /^(\/desk\/sign-in)%23(.+)$/.exec(location.pathname);
  const fragment = altered?.[2] ?? location.hash.slice(1);
  if (!fragment || fragment === "main") return;
  history.replaceState(null, "", (altered?.[1] ?? location.pathname) + location.search);
  if (!$("link")) return;
  $("link").value = fragment;
  $("filled").hidden = false;
}

// Switching the language keeps the link, and where the person wanted to go.
document.querySelector("[data-language]")?.addEventListener("click", (event) => {
  event.preventDefault();
  const query = new URLSearchParams(location.search);
  query.set("lang", event.currentTarget.dataset.language);
  location.replace(`${location.pathname}?${query}#${$("link")?.value.trim().split("#").pop() ?? ""}`);
});
addEventListener("hashchange", take);
addEventListener("pagehide", () => { if ($("link")) $("link").value = ""; });
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
take();
