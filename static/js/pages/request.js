// Answer a request: what is handed in is sealed to the asker's link, here.
import { call, isPassing } from "../api.js";
import { compose } from "../compose.js";
import { $, busy, complain, say, setTime, show, word } from "../dom.js";
import {
  FormatError, answerToken, b64, newKey, readRequestLink, requestPublicKey, sealAnswer, writePayload,
} from "../envelope.js";
import { awaitLink, keepLink, isReload, speak, takeLink } from "../link.js";

const secret = compose(Number(document.querySelector("main").dataset.maxBytes));
let request = null;  // { id, publicKey, token } of the link at hand
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
  try {
    await requestPublicKey(newKey());  // a browser that could not seal says so before anything is typed
    const asked = await call("GET", `/requests/${b64(request.id)}`, { token: request.token, again });
    if (speak(asked.language, "/r", fragment())) return undefined;
    $("label").textContent = asked.label ?? "";
    $("label").closest("[data-if-label]").hidden = !asked.label;
    setTime($("until"), asked.expires_at);
    return show(asked.state === "waiting" ? "write" : { sealed: "answered", opened: "answered" }[asked.state] ?? "ended");
  } catch (problem) {
    if (problem.name === "NotSupportedError") return show("unsupported");
    return show(problem.type === "not-found" ? "not-found" : "unreachable");
  }
}

async function submit() {
  complain("problem", "");
  const payload = await secret.payload();
  if (!payload) return;
  try {
    const body = { envelope: b64(await sealOnce(payload)), consents: [] };
    const again = () => { complain("problem", word("trying-again")); say(word("trying-again")); };
    await call("POST", `/requests/${b64(request.id)}/answer`, { token: request.token, body, again });
    secret.clear();
    unsent = null;
    show("handed-in");
  } catch (error) {
    explain(error);
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
  return complain("problem", word(isPassing(error) ? "create-unreachable" : "create-failed"));
}

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
      secret.hold(true);
      await submit();
      secret.hold(false);
    });
  });
  $("retry").addEventListener("click", check);
  for (const button of document.querySelectorAll("[data-paste]")) button.addEventListener("click", () => show("paste"));
  awaitLink();
  addEventListener("beforeunload", (event) => { if (!$("answer").closest("[hidden]") && !secret.isEmpty()) event.preventDefault(); });
  addEventListener("pagehide", () => {
    secret.clear();
    unsent = null;
    $("pasted").value = "";
  });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  if (!crypto.subtle) return show("insecure");
  for (const button of document.querySelectorAll("main button:disabled")) button.disabled = false;
  return arrive();
}

start();
