// What only the collecting of answers needs, fetched once a link turns out to be a pick-up link; all of it before
// anything is claimed.
import { requestPublicKey, unsealAnswer } from "./answers.js";
import { call } from "./api.js";
import { $, download, element, language, size, word } from "./dom.js";
import { unb64 } from "./envelope.js";

// How to collect the answer under this link key.
export async function collecting(key, id, token) {
  await requestPublicKey(key);  // a browser that could not unseal it says so here
  const path = `/requests/${id}/form?language=${language}`;
  const ask = () => call("GET", path, { token, patient: () => false }).catch(() => ({}));
  let form = await ask();  // without it, the answers have the names that they were sealed under
  identify($("signed-in-name").textContent);
  tell(form);
  // In another tab somebody may sign in at any time.
  async function look() {
    if (document.hidden || !$("signed-in").hidden) return;
    const person = await call("GET", "/me", { patient: () => false }).catch(() => null);
    if (person?.role !== "agent") return;
    identify(person.name);
    form = { ...form, ...await ask() };
    tell(form);
  }
  addEventListener("focus", look);
  document.addEventListener("visibilitychange", look);
  return {
    unseal: (envelope) => unsealAnswer(key, envelope),
    rows: (answers) => rows(answers, form.rows),
    forget() {
      removeEventListener("focus", look);
      document.removeEventListener("visibilitychange", look);
    },
  };
}

// Whoever has signed in as an agent needs no token.
function identify(name) {
  $("signed-in").hidden = !name;
  $("signed-in-name").textContent = name;
  $("sign-in").hidden = Boolean(name);
  $("api-key").closest(".field").hidden = Boolean(name);
  if (name) $("api-key").value = "";
}

// What is known of the request, without anything that was sealed.
function tell({ facts = {}, ...form }) {
  const ticks = (facts.consents ?? []).map(({ text, ticked }) => `${ticked ? "☑" : "☐"} ${text}`).join("\n");
  const cost = [facts.package, facts.cost].filter(Boolean).join(": ");
  const known = {
    form: form.title, ticket: form.ticket, organisation: form.organisation, checked: form.checked && word(form.checked),
    product: facts.product, inquiry: facts.inquiry, ticks, cost,
  };
  for (const part of document.querySelectorAll("[data-known]")) {
    part.hidden = !known[part.dataset.known];
    part.querySelector("dd").textContent = known[part.dataset.known] || "";
  }
  $("known").hidden = !form.title;
}

// Rows in the form's order, unknown ones behind; `copied` holds the ids of what has to be copied or saved.
export function rows(answers, known = []) {
  const rest = new Map(answers);
  const copied = [];
  const parts = [];
  const add = (label, made) => {
    parts.push(element("div", {}, element("dt", {}, label), ...made.map((each) => (each.tagName === "DD" ? each : element("dd", {}, each)))));
  };
  for (const { id, label, type, options } of known) {
    const file = type === "file" && fileOf(rest, id);
    if (file) {
      add(label, saving(file, `answer-${parts.length}`, copied));
      rest.delete(`${id}.name`);
      rest.delete(`${id}.base64`);
    } else if (rest.has(id)) {
      const value = rest.get(id);
      const named = options.find((option) => option.id === value)?.label ?? value;
      add(label, copying(named, `answer-${parts.length}`, label, copied));
      rest.delete(id);
    }
  }
  for (const [name, value] of rest) add(name, copying(value, `answer-${parts.length}`, name, copied));
  return { parts, copied };
}

function copying(value, id, label, copied) {
  const given = element("dd", { id, class: "code", tabindex: "0", translate: "no" }, value);
  given.copied = value;
  if (value) copied.push(id);
  const button = element("button", { type: "button", "data-copy": id, class: "quiet" }, word("copy"));
  button.setAttribute("aria-label", word("copy-field", { field: label }));
  return [given, button];
}

// Null where it is not one: then both its parts are shown as they are.
function fileOf(answers, id) {
  try {
    const file = new Blob([unb64(answers.get(`${id}.base64`))], { type: "application/octet-stream" });
    file.name = answers.get(`${id}.name`).replace(/[\p{Cc}\p{Bidi_Control}/\\]/gu, "_") || "_";
    return file;
  } catch {
    return null;
  }
}

function saving(file, id, copied) {
  const given = element("dd", { id, class: "chosen" }, element("strong", { class: "break", translate: "no" }, file.name));
  given.append(" ", element("span", { class: "hint" }, size(file.size)));
  copied.push(id);
  const button = element("button", { type: "button", class: "quiet" }, word("save-file"));
  button.setAttribute("aria-label", word("save-field", { field: file.name }));
  button.addEventListener("click", () => {
    download(file);
    given.dispatchEvent(new Event("saved", { bubbles: true }));
  });
  return [given, button];
}
