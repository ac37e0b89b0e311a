// A ticket's trail, as the server writes it: asked for again while somebody looks, and its two buttons.
import { call } from "./api.js";
import { $, busy, say, word } from "./dom.js";
import { localise } from "./times.js";

const EVERY = 5000;  // milliseconds

// Follow the trail of the ticket at `path`.  Returns `refresh(id)`, which resolves to the reference of the link
// with this id, if it is in the list.
export function followTrail(path) {
  const written = new Map();  // each entry by its id, as the server wrote it
  let timer;
  let asked = 0;

  for (const entry of $("entries").children) written.set(entry.id, entry.outerHTML);
  localise($("trail"));

  // `tell` says news to those who listen; not of what they have just done themselves.
  function take(trail, tell) {
    const next = [...trail.querySelectorAll(".entry")].map((entry) => {
      const here = $(entry.id);
      if (here && written.get(entry.id) === entry.outerHTML) return here;
      const isNews = here && here.dataset.now !== entry.dataset.now;
      written.set(entry.id, entry.outerHTML);
      const made = document.importNode(entry, true);
      localise(made);
      keep(here, made);
      if (isNews && tell) {
        say(word("news", { ref: made.id.slice(5), now: made.querySelector(".now").textContent }));
      }
      return made;
    });
    const held = document.activeElement;
    const list = $("entries");
    if (next.length !== list.children.length || next.some((entry, i) => entry !== list.children[i])) {
      list.replaceChildren(...next);
      if (held.isConnected) held.focus({ preventScroll: true });
      else if (document.activeElement === document.body && held.closest(".entry")) $("trail-heading").focus();
    }
    $("trail-empty").hidden = next.length > 0;
  }

  // What the reader had unfolded stays so.
  function keep(before, after) {
    for (const open of before?.querySelectorAll("details[open]") ?? []) {
      const same = after.querySelector(`details[data-kept="${open.dataset.kept}"]`);
      if (same) same.open = true;
    }
  }

  async function refresh(id, tell = true) {
    clearTimeout(timer);
    const mine = ++asked;
    const { status, page } = await fetchPage(`/desk${path}/trail${query(id)}`);
    const trail = page?.getElementById("trail");
    if (mine === asked) {  // else a later answer counts
      if (trail) take(trail, tell);
      if (status === 404) $("entries").replaceChildren();
      complain(trail ? "" : { 200: "trail-signed-out", 404: "not-found" }[status] ?? "trail-unreachable");
      schedule();
    }
    return trail?.dataset.made || null;
  }

  // What failed by hand stays until the next try.
  function complain(name) {
    const place = $("trail-trouble");
    if (!name && place.dataset.now === "act-failed") return;
    if (place.dataset.now !== name) place.textContent = name && word(name);
    place.dataset.now = name;
    place.hidden = !name;
  }

  function schedule() {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(refresh, EVERY);
  }

  async function act(form) {
    const { act: what, ref } = form.dataset;
    $("trail-trouble").dataset.now = "";
    await busy(form.querySelector("button"), async () => {
      const done = await call("POST", `/tickets${path}/links/${ref}/${what}`).catch((problem) => problem);
      await refresh(undefined, false);
      const isStill = done instanceof Error && $(`link-${ref}`)?.querySelector(`[data-act="${what}"]`);
      $("trail-heading").focus();
      if (!isStill) return say($(`link-${ref}`)?.querySelector(".now").textContent ?? "");
      return complain("act-failed");
    });
  }

  $("trail").addEventListener("submit", (event) => {
    if (!event.target.dataset.act) return;
    event.preventDefault();
    act(event.target);
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
  schedule();
  return refresh;
}

function query(id) {
  const asked = new URLSearchParams(location.search);
  const wanted = new URLSearchParams({ lang: asked.get("lang") ?? document.documentElement.lang, ...(id && { id }) });
  return `?${wanted}`;
}

// A page of ours as a document, with its status.  Nothing in it runs; nobody but the server has made its markup.
function fetchPage(url) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.setRequestHeader("Accept", "text/html");
    request.timeout = 20_000;
    request.onload = () => resolve({ status: request.status, page: request.responseXML });
    request.onerror = request.ontimeout = request.onabort = () => resolve({ status: 0, page: null });
    request.send();
  });
}
