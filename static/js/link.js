// The link a page was opened with: read from the address bar, and taken out of it.
import { language } from "./dom.js";
import { readAddress } from "./envelope.js";

// `#main` is no link, only the way to the content.
const holdsLink = () => location.hash.length > 1 && location.hash !== "#main";

// What stood behind the `#`, or null.  A mail program may have made `%23` of it.
export function takeLink(page) {
  const altered = /^\/(?:s|r|receipt)(?:%23|%2523)/i.test(location.pathname);
  if (!altered && !holdsLink()) return null;
  const text = readAddress(location.pathname + location.hash);
  history.replaceState(null, "", page + location.search);
  return { text, altered };
}

// A link followed in this very page: by default the page begins anew.
export const awaitLink = (work = () => location.reload()) => addEventListener("hashchange", () => { if (holdsLink()) work(); });

// The page was here before: reloaded, or come back to.
export const isReload = () => ["reload", "back_forward"].includes(performance.getEntriesByType("navigation")[0]?.type);

// The sender may have chosen the reader's language; what the reader asks for in the address comes first.
export function speak(wanted, page, fragment) {
  if (!wanted || wanted === language || new URLSearchParams(location.search).has("lang")) return false;
  location.replace(`${page}?lang=${wanted}#${fragment}`);
  return true;
}

// Switching the language by hand keeps the link too.
export function keepLink(page, fragment) {
  document.querySelector("[data-language]")?.addEventListener("click", (event) => {
    const held = fragment();
    if (!held) return;
    event.preventDefault();
    location.replace(`${page}?lang=${event.currentTarget.dataset.language}#${held}`);
  });
}
