// Open a link: look first, open only when asked to, unseal here, say that it arrived.
import { Problem, call, isPassing, isRefused, isUnclear, newIdempotencyKey } from "../api.js";
import { bindCopy, bindReveal } from "../beside.js";
import { $, busy, complain, download, extra, say, setTime, show, size, word } from "../dom.js";
import {
  FormatError, b64, checkEnvelope, deriveHandles, proof, readAnswers, readLink, stretchPassword, unb64, unseal,
} from "../envelope.js";
import { awaitLink, isReload, keepLink, speak, takeLink } from "../link.js";

let link = null;  // { key, id, token, claimKey, state, unclear, collect } of the link at hand
let shown = "";  // the link, as text, that this page is about
let saved = null;  // the file to be saved
let uncopied = new Set();  // ids of what was opened and not yet copied or saved

const path = (what = "") => `/secrets/${b64(link.id)}${what}`;

async function begin(text) {
  try {
    const key = readLink(text);
    forget();
    shown = b64(key);
    link = { key, ...await deriveHandles(key), claimKey: newIdempotencyKey() };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    forget();
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
    mine.state = await call("GET", path(), { token: mine.token, again });
    // Before anything is claimed: whatever could not open it stops here.
    if (mine.state.kind === "request" && mine.state.state === "sealed") {
      mine.collect ??= await (await extra("./collect.js")).collecting(mine.key, b64(mine.id), mine.token);
    }
  } catch (problem) {
    if (link !== mine) return undefined;
    return problem.name === "NotSupportedError" ? show("unsupported") : fail(problem);
  }
  if (link !== mine) return undefined;  // another link was followed meanwhile
  const { state, language: wanted, ended_at: endedAt, expires_at: expiresAt, kind } = mine.state;
  if (speak(wanted, "/s", shown)) return undefined;
  if (mine.state.ended_by === "operator") return showEnd("ended-by-operator");
  if (state === "waiting") return show("not-answered");
  if (state === "locked") return show("locked");
  if (state !== "sealed") return ENDS.includes(state) ? showEnd(state, endedAt) : show("unreachable");
  setTime($("until"), expiresAt);
  for (const part of document.querySelectorAll("[data-if-password]")) part.hidden = !mine.state.password;
  for (const part of document.querySelectorAll("[data-if-request]")) part.hidden = kind !== "request";
  return show("ready");
}

const ENDS = ["opened", "revoked", "expired", "ended-by-operator"];

function showEnd(kind, endedAt) {
  for (const time of document.querySelectorAll("[data-ended]")) if (endedAt) setTime(time, endedAt);
  show(kind === "opened" && link.unclear ? "missed" : kind);
}

// What keeps a link from being looked at has a view of its own.
function fail({ type, endedAt }) {
  if (ENDS.includes(type)) return showEnd(type, endedAt);
  if (["locked", "not-found", "not-answered"].includes(type)) return show(type);
  return show(/^(record|key)-/.test(type) ? "broken" : type === "unauthorized" ? "not-found" : "unreachable");
}

async function open() {
  complain("problem", "");
  const mine = link;
  const { key, state } = mine;
  const password = $("password").value;
  if (state.password && !password) return complain("problem", word("password-needed"), $("password"));
  switchable(false);
  try {
    const stretched = state.password ? await stretchPassword(key, password) : null;
    const body = stretched ? { proof: b64(await proof(stretched)) } : {};
    await receive(mine, await claim(mine, body), stretched, body);
  } catch (error) {
    if (link === mine) explain(error);
  } finally {
    switchable(Boolean(link) && !isUnsure());
  }
  return undefined;
}

// The envelope, as text.  Once an answer was lost, this link may have been opened by us: that is `unclear`.
async function claim(mine, body) {
  const { token, claimKey, state } = mine;
  const apiKey = state.kind === "request" ? $("api-key").value : undefined;
  const again = (problem) => {
    mine.unclear ||= isUnclear(problem);
    complain("problem", word("trying-again"));
    say(word("trying-again"));
  };
  // A wrong password may cost a try each time: then only what was opened is asked for again.
  for (let patient = body.proof ? ({ type }) => type === "busy" : isPassing; ; patient = isPassing) {
    try {
      const { envelope } = await call("POST", path("/claim"), { token, key: claimKey, apiKey, body, again, patient });
      if (typeof envelope !== "string") throw new Problem("unreachable");
      return envelope;
    } catch (problem) {
      mine.unclear ||= isUnclear(problem);
      if (patient === isPassing || !isUnclear(problem)) throw problem;
      again(problem);
      const { state: now } = await call("GET", path(), { token, again });
      if (now !== "opened") throw problem;
    }
  }
}

async function receive(mine, text, stretched, body, repeated = false) {
  const { key, token, claimKey, state } = mine;
  let payload;
  try {
    const envelope = unb64(text);
    checkEnvelope(envelope, { answer: state.kind === "request", password: state.password });
    payload = await (mine.collect ? mine.collect.unseal(envelope) : unseal(key, envelope, { stretched }));
  } catch (error) {
    if (repeated || !(error instanceof FormatError)) throw error;
    return receive(mine, await claim(mine, body), stretched, body, true);  // damaged on its way, perhaps
  }
  if (link !== mine) return undefined;  // left meanwhile; it can still be fetched again for a while
  const done = path("/done");
  const answers = tryAnswers(payload);
  display(payload, answers && mine.collect?.rows(answers));
  if (answers && !mine.collect) laterRows(answers, saved);
  mine.collect?.forget();
  link = null;
  // It has arrived: nobody needs to be able to fetch it again.  If this is lost, the window closes by itself.
  call("POST", done, { token, key: claimKey, keepalive: true }).catch(() => {});
  return undefined;
}

function explain(error) {
  if (error instanceof FormatError) {
    if (error.kind === "bad-password") return complain("problem", word("bad-password"), $("password"));
    return show("unsealable");
  }
  if (error.type === "wrong-password") {
    const count = error.triesLeft;
    link.unclear = count === undefined;  // no try was spent: it is open, by us
    if (count === 0) return show("locked");
    return complain("problem", link.unclear ? word("other-password")
      : `${word("wrong-password")} ${word("tries", { count })}`, $("password"));
  }
  if (["unauthorized", "forbidden"].includes(error.type)) return complain("problem", word("agents-only"), $("api-key"));
  if (ENDS.includes(error.type) || /^(locked|not-|record-|key-)/.test(error.type)) return fail(error);
  if (isRefused(error) && !link.unclear) {
    return error.type === "rate-limited" ? complain("problem", word("open-rate-limited")) : show("unreachable");
  }
  $("not-now").hidden = true;
  return complain("problem", word("open-unreachable"));  // the same key is sent again at the next press
}

// The next press may bring what this page has opened.
const isUnsure = () => link?.unclear && !$("open-form").closest("[hidden]");

const mayLose = () => uncopied.size || isUnsure() || $("open-button").ariaBusy;

// Another language means another page: not while there is something to lose.
function switchable(may) {
  for (const other of document.querySelectorAll("[data-language]")) other.hidden = !may;
}

// --- what was in it

function display(payload, rows) {
  const text = payload.text();
  $("answers").hidden = true;
  $("text").hidden = text === null;
  $("binary").hidden = text !== null;
  uncopied = new Set(["secret"]);
  if (rows) showRows(rows);
  else if (text !== null) showText(text);
  saved = new Blob([payload.content], { type: "application/octet-stream" });
  saved.name = payload.name ?? (text === null ? "secret.bin" : "secret.txt");
  $("file-name").textContent = payload.name ?? word("no-name");
  $("file-size").textContent = [payload.type, size(payload.content.length)].filter(Boolean).join(", ");
  $("pasted").value = "";
  show("opened-now");
  say(word("opened-now"));
}

function tryAnswers(payload) {
  try {
    return readAnswers(payload);
  } catch {
    return null;  // then it is a text like any other
  }
}

// A form's answers in a secret that nobody asked for: shown as a text until what shows them better is here.
async function laterRows(answers, of) {
  const { rows } = await extra("./collect.js").catch(() => ({}));
  if (rows && saved === of && uncopied.has("secret")) showRows(rows(answers));
}

function showRows({ parts, copied }) {
  uncopied = new Set(copied);
  $("answers").replaceChildren(...parts);
  $("answers").hidden = false;
  $("text").hidden = $("binary").hidden = true;
}

function showText(text) {
  $("secret").textContent = text;
  $("secret").copied = text;
  const ends = /^\s|\s$/.test(text);
  $("blank-ends").hidden = !ends;
}

function save() {
  uncopied.clear();
  download(saved);
}

function toggle() {
  const veiled = $("secret").classList.toggle("veiled");
  $("hide").textContent = word(veiled ? "show" : "hide");
  $("hide").setAttribute("aria-pressed", String(veiled));
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
    $("report-said").focus();
  });
}

// Nothing that was shown or typed stays in the page.
function forget() {
  link?.collect?.forget();
  link = saved = null;
  shown = "";
  uncopied.clear();
  for (const id of ["secret", "answers", "file-name", "file-size"]) $(id).replaceChildren();
  delete $("secret").copied;
  for (const id of ["password", "api-key"]) $(id).value = "";
}

// --- from the start

function arrive() {
  const taken = takeLink("/s");
  if (taken) {
    $("repaired").hidden = !taken.altered;
    return begin(taken.text);
  }
  $("reloaded").hidden = !isReload();
  $("no-link").hidden = location.pathname !== "/s" || isReload();
  return show("paste", { focus: false });
}

function start() {
  keepLink("/s", () => link && shown);
  bindCopy(document, (id) => uncopied.delete(id));
  $("answers").addEventListener("saved", ({ target }) => uncopied.delete(target.id));
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
  $("report").addEventListener("click", report);
  $("retry").addEventListener("click", check);
  for (const button of document.querySelectorAll("[data-paste]")) button.addEventListener("click", () => show("paste"));
  // The same link is looked at again, or stays as it is; with another one the page begins anew.
  awaitLink(() => {
    if (location.hash !== `#${shown}`) return location.reload();
    takeLink("/s");
    return link && !mayLose() && check();
  });
  addEventListener("beforeunload", (event) => { if (mayLose()) event.preventDefault(); });
  addEventListener("pagehide", () => { forget(); $("pasted").value = ""; });
  addEventListener("pageshow", (event) => { if (event.persisted) show("gone"); });
  if (!crypto.subtle) return show("insecure");
  for (const button of document.querySelectorAll("main button:disabled")) button.disabled = false;
  return arrive();
}

start();
