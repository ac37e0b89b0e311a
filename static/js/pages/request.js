// Answer a request: what is handed in is sealed to the asker's link, here.
import { answerToken, readRequestLink, requestPublicKey, sealAnswer } from "../answers.js";
import { call, isPassing } from "../api.js";
import { compose } from "../compose.js";
import { $, busy, complain, extra, language, say, setTime, show, word } from "../dom.js";
import { FormatError, b64, newKey, writePayload } from "../envelope.js";
import { awaitLink, keepLink, isReload, speak, takeLink } from "../link.js";

const maxBytes = Number(document.querySelector("main").dataset.maxBytes);
const secret = compose(maxBytes);
let request = null;  // { id, publicKey, token, ticket } of the link at hand
let form = null;  // what `ask` has built; null where a text or a file will do
let unsent = null;  // the sealed answer that has not been taken yet, and what it was made of

const fragment = () => request && b64(new Uint8Array([...request.id, ...request.publicKey]));

async function begin(text) {
  try {
    request = readRequestLink(text);
    request.token = await answerToken(request);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return show("damaged");
  }
  return check();
}

async function check() {
  show("checking", { focus: false });
  const again = () => { $("checking-again").hidden = false; };
  const [path, token] = [`/requests/${b64(request.id)}`, request.token];
  try {
    await requestPublicKey(newKey());  // a browser that could not seal says so before anything is typed
    const asked = await call("GET", path, { token, again });
    if (speak(asked.language, "/r", fragment())) return undefined;
    if (asked.state !== "waiting") return show(["sealed", "opened"].includes(asked.state) ? "answered" : "ended");
    const more = await call("GET", `${path}/form?language=${language}`, { token, again }).catch((problem) => {
      if (problem.type !== "not-found") throw problem;
      return {};  // its form is not there any more: then a text will do
    });
    const { ask } = more.groups && !isSimple(more) ? await extra("./form.js") : {};
    tell(asked, more, ask);
    return show("write");
  } catch (problem) {
    if (problem.name === "NotSupportedError") return show("unsupported");
    return show(problem.type === "not-found" ? "not-found" : "unreachable");
  }
}

// Whether a text or a file, as it is, answers a form.
function isSimple({ product, inquiries, consents, cost, identity, groups }) {
  const types = groups.flatMap(({ fields }) => fields.map(({ type }) => type));
  const asksMore = product || inquiries.length || consents.length || cost || identity;
  return !asksMore && new Set(types).size === types.length && types.every((type) => type === "text" || type === "file");
}

// Who asks, for what, and the fields.
function tell(asked, more, ask) {
  request.ticket = asked.label?.replace(/^[a-z][a-z0-9-]*:(?=[\w.-]+$)/, "");
  const facts = { ...more, ticket: request.ticket, checked: more.identity && more.checked && word(more.checked) };
  for (const part of document.querySelectorAll("[data-about]")) {
    part.hidden = !facts[part.dataset.about];
    part.querySelector("dd").textContent = facts[part.dataset.about] || "";
  }
  setTime($("until"), asked.expires_at);
  $("title").textContent = more.title ?? word("asked");
  $("intro").textContent = more.intro ?? "";
  $("identity").hidden = !more.identity;
  form = ask ? ask($("fields"), more) : null;
  $("simple").hidden = Boolean(form);
}

async function submit() {
  complain("problem", "");
  const payload = form ? null : await secret.payload();
  const said = form ? await form.read() : payload && { payload, facts: { consents: [] } };
  if (!said) return undefined;
  if (said.payload.content.length > maxBytes) return complain("problem", word("create-too-large"));
  try {
    const body = { envelope: b64(await sealOnce(said.payload)), ...said.facts };
    const again = () => { complain("problem", word("trying-again")); say(word("trying-again")); };
    const answered = await call("POST", `/requests/${b64(request.id)}/answer`, { token: request.token, body, again });
    forget();
    return showReceipt(answered);
  } catch (error) {
    return explain(error);
  }
}

// A repeat must be the very same envelope: another one would be another answer.
async function sealOnce(payload) {
  const made = b64(writePayload(payload));
  if (unsent?.made !== made) unsent = { made, envelope: await sealAnswer(request, payload) };
  return unsent.envelope;
}

function explain(error) {
  if (error.type === "conflict" || error.type === "opened") return show("answered");
  if (["revoked", "expired", "ended-by-operator"].includes(error.type)) return show("ended");
  if (error.type === "too-large") return complain("problem", word("create-too-large"));
  if (error.type === "not-found") return show("not-found");
  if (error.type === "invalid") form?.refuse(error.errors);
  return complain("problem", word(isPassing(error) ? "create-unreachable" : "create-failed"));
}

function showReceipt(answered) {
  const part = (name) => document.querySelector(`[data-receipt="${name}"]`);
  part("ticket").hidden = !request.ticket;
  part("ticket").querySelector("strong").textContent = request.ticket ?? "";
  setTime(part("now"), Date.now());
  setTime(part("until"), answered.expires_at);
  show("handed-in");
}

function forget() {
  secret.clear();
  form?.clear();
  form = unsent = null;
}

const mayLose = () => !$("answer").closest("[hidden]") && !(form ?? secret).isEmpty();

function arrive() {
  const taken = takeLink("/r");
  if (taken) {
    $("repaired").hidden = !taken.altered;
    return begin(taken.text);
  }
  $("reloaded").hidden = !isReload();
  return show("paste", { focus: false });
}

function start() {
  keepLink("/r", fragment);
  $("paste-form").addEventListener("submit", (event) => {
    event.preventDefault();
    begin($("pasted").value);
  });
  $("answer").addEventListener("submit", (event) => {
    event.preventDefault();
    busy($("answer-button"), async () => {
      const sent = form ?? secret;
      sent.hold(true);
      await submit();
      sent.hold(false);
    });
  });
  $("print").addEventListener("click", () => print());
  $("retry").addEventListener("click", check);
  for (const button of document.querySelectorAll("[data-paste]")) button.addEventListener("click", () => show("paste"));
  awaitLink();
  addEventListener("beforeunload", (event) => { if (mayLose()) event.preventDefault(); });
  addEventListener("pagehide", () => { forget(); $("pasted").value = ""; });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  if (!crypto.subtle) return show("insecure");
  for (const button of document.querySelectorAll("main button:disabled")) button.disabled = false;
  return arrive();
}

start();
