// Open a link: look first, open only when asked to, unseal here, say that it arrived.
import { call, isPassing, newIdempotencyKey } from "../api.js";
import { bindCopy } from "../copy.js";
import { $, busy, complain, element, language, say, show, word } from "../dom.js";
import {
  FormatError, b64, checkEnvelope, deriveHandles, proof, readAnswers, readLink, stretchPassword, unb64, unseal, unsealAnswer,
} from "../envelope.js";
import { awaitLink, isReload, keepLink, speak, takeLink } from "../link.js";
import { bindReveal } from "../reveal.js";
import { setTime, size } from "../when.js";

let link = null;  // { key, id, token, claimKey, state } of the link at hand, for as long as it is needed
let saved = null;  // the file to be saved

const path = (what = "") => `/secrets/${b64(link.id)}${what}`;

async function begin(text) {
  forget();
  try {
    const key = readLink(text);
    link = { key, ...await deriveHandles(key), claimKey: newIdempotencyKey() };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return show("damaged");
  }
  return check();
}

async function check() {
  show("checking", { focus: false });
  $("checking-again").hidden = true;
  const again = () => { $("checking-again").hidden = false; };
  const mine = link;
  try {
    link.state = await call("GET", path(), { token: link.token, again });
  } catch (problem) {
    return link === mine ? fail(problem) : undefined;
  }
  if (link !== mine) return undefined;  // another link was followed meanwhile
  const { state, language: wanted, ended_at: endedAt, expires_at: expiresAt, kind } = link.state;
  if (speak(wanted, "/s", b64(link.key))) return undefined;
  if (state === "waiting") return show("not-answered");
  if (state === "locked") return show("locked");
  if (state !== "sealed") return showEnd(state, endedAt);
  setTime($("until"), expiresAt);
  for (const part of document.querySelectorAll("[data-if-password]")) part.hidden = !link.state.password;
  for (const part of document.querySelectorAll("[data-if-request]")) part.hidden = kind !== "request";
  return show("ready");
}

function showEnd(kind, endedAt) {
  for (const time of document.querySelectorAll("[data-ended]")) if (endedAt) setTime(time, endedAt);
  show(kind);
}

// Everything that keeps a link from being opened has a view of its own, or stands beside the button.
function fail(problem) {
  if (!("type" in problem)) throw problem;
  const views = ["opened", "revoked", "expired", "ended-by-operator", "locked", "not-found", "not-answered"];
  if (views.includes(problem.type)) return showEnd(problem.type, problem.endedAt);
  const broken = ["record-damaged", "record-missing", "key-missing"].includes(problem.type);
  return show(broken ? "broken" : problem.type === "unauthorized" ? "not-found" : "unreachable");
}

async function open() {
  complain("problem", "");
  const mine = link;
  const { key, token, claimKey, state } = mine;
  const password = $("password").value;
  if (state.password && !password) return complain("problem", word("password-needed"), $("password"));
  try {
    const stretched = state.password ? await stretchPassword(key, password) : null;
    const body = stretched ? { proof: b64(await proof(stretched)) } : {};
    const apiKey = state.kind === "request" ? $("api-key").value : undefined;
    const again = () => { complain("problem", word("trying-again")); say(word("trying-again")); };
    const { envelope } = await call("POST", path("/claim"), { token, key: claimKey, apiKey, body, again });
    await receive(mine, unb64(envelope), stretched);
  } catch (error) {
    if (link === mine) explain(error);
  }
  return undefined;
}

async function receive(mine, envelope, stretched) {
  const { key, token, claimKey, state } = mine;
  checkEnvelope(envelope, { answer: state.kind === "request", password: state.password });
  const payload = state.kind === "request" ? await unsealAnswer(key, envelope) : await unseal(key, envelope, { stretched });
  if (link !== mine) return;  // left meanwhile; it can still be fetched again for a while
  const done = path("/done");
  display(payload);
  link = null;
  // It has arrived: nobody needs to be able to fetch it again.  If this is lost, the window closes by itself.
  call("POST", done, { token, key: claimKey, keepalive: true }).catch(() => {});
}

function explain(error) {
  if (error instanceof FormatError) {
    if (error.kind === "bad-password") return complain("problem", word("bad-password"), $("password"));
    return show("unsealable");
  }
  if (error.type === "wrong-password") {
    if (error.triesLeft === 0) return show("locked");
    const left = error.triesLeft === undefined ? "" : ` ${word("tries", { count: error.triesLeft })}`;
    return complain("problem", word("wrong-password") + left, $("password"));
  }
  if (error.type === "unauthorized" || error.type === "forbidden") return complain("problem", word("agents-only"), $("api-key"));
  if (error.type === "rate-limited") return complain("problem", word("open-rate-limited"));
  if (isPassing(error)) {
    return complain("problem", word("open-unreachable"));  // the same key is sent again at the next press
  }
  return fail(error);
}

// --- what was in it --------------------------------------------------------------------------------------

function display(payload) {
  const answers = tryAnswers(payload);
  const text = payload.text();
  $("answers").hidden = !answers;
  $("text").hidden = Boolean(answers) || text === null;
  $("binary").hidden = Boolean(answers) || text !== null;
  if (answers) showAnswers(answers);
  else if (text !== null) showText(text);
  saved = new Blob([payload.content], { type: "application/octet-stream" });
  saved.name = payload.name ?? (text === null ? "secret.bin" : "secret.txt");
  $("file-name").textContent = payload.name ?? word("no-name");
  $("file-size").textContent = [payload.type, size(payload.content.length)].filter(Boolean).join(", ");
  document.querySelector("[data-language]")?.setAttribute("hidden", "");
  show("opened-now");
  say(word("opened-now"));
}

function tryAnswers(payload) {
  try {
    return [...readAnswers(payload)];
  } catch {
    return null;  // then it is a text like any other
  }
}

function showText(text) {
  $("secret").textContent = text;
  $("secret").copied = text;
  const ends = /^\s|\s$/.test(text);
  $("blank-ends").hidden = !ends;
}

function showAnswers(answers) {
  $("answers").replaceChildren(...answers.map(([name, value], i) => {
    const shown = element("dd", { id: `answer-${i}`, class: "code", tabindex: "0" }, value);
    shown.copied = value;
    const button = element("button", { type: "button", "data-copy": shown.id, class: "quiet" }, word("copy"));
    button.setAttribute("aria-label", word("copy-field", { field: name }));
    return element("div", {}, element("dt", {}, name), shown, element("dd", {}, button));
  }));
}

function save() {
  const anchor = element("a", { href: URL.createObjectURL(saved), download: saved.name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
}

function toggle() {
  const shown = $("secret").classList.toggle("veiled") === false;
  $("hide").textContent = word(shown ? "hide" : "show");
  $("hide").setAttribute("aria-pressed", String(!shown));
}

async function report() {
  const button = $("report");
  await busy(button, async () => {
    const told = await call("POST", path("/report"), { token: link.token }).then(() => "reported", (problem) => (
      problem.type === "conflict" ? "reported-before" : "report-failed"
    ));
    $("report-said").textContent = word(told);
    $("report-said").hidden = false;
    button.hidden = told !== "report-failed";
  });
}

// Nothing that was shown or typed stays in the page.
function forget() {
  link = saved = null;
  for (const id of ["secret", "answers", "file-name", "file-size"]) $(id).replaceChildren();
  delete $("secret").copied;
  for (const id of ["password", "api-key"]) $(id).value = "";
}

// --- from the start --------------------------------------------------------------------------------------

function arrive() {
  const taken = takeLink("/s");
  if (taken) {
    $("repaired").hidden = !taken.altered;
    return begin(taken.text);
  }
  $("reloaded").hidden = !isReload();
  $("no-link").hidden = $("arrived-by-link").dataset.arrived !== "true" || isReload();
  return show("paste", { focus: false });
}

function start() {
  keepLink("/s", () => link && b64(link.key));
  bindCopy(document);
  bindReveal(document);
  $("paste-form").addEventListener("submit", (event) => {
    event.preventDefault();
    begin($("pasted").value);
  });
  $("open-form").addEventListener("submit", (event) => {
    event.preventDefault();
    busy($("open-button"), open);
  });
  $("save-text").addEventListener("click", save);
  $("save").addEventListener("click", save);
  $("hide").addEventListener("click", toggle);
  $("report")?.addEventListener("click", report);
  $("retry").addEventListener("click", check);
  for (const button of document.querySelectorAll("[data-paste]")) button.addEventListener("click", () => show("paste"));
  awaitLink();
  addEventListener("pagehide", () => { forget(); $("pasted").value = ""; });
  addEventListener("pageshow", (event) => { if (event.persisted) show("gone"); });
  if (!crypto.subtle) return show("insecure");
  for (const button of document.querySelectorAll("main button:disabled")) button.disabled = false;
  return arrive();
}

if ($("open-form")) start();
