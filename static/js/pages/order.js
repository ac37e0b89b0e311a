// Hand something in unasked: sealed here to a pick-up link made for it, whose key goes along for support's ticket.
import { requestPublicKey, sealAnswer } from "../answers.js";
import { call, isPassing, newIdempotencyKey } from "../api.js";
import { $, busy, complain, language, say, setTime, show, word } from "../dom.js";
import { b64, deriveHandles, newKey, writePayload } from "../envelope.js";
import { ask } from "../form.js";

const maxBytes = Number(document.querySelector("main").dataset.maxBytes);
const { form: name, organisation } = $("order").dataset;
const idempotencyKey = newIdempotencyKey();  // one order, however often it is tried
const key = newKey();
let form = null;  // what `ask` has built
let unsent = null;  // the sealed answer that has not been taken yet, and what it was made of

async function begin() {
  show("checking", { focus: false });
  const again = () => { $("checking-again").hidden = false; };
  try {
    await requestPublicKey(key);  // a browser that could not seal says so before anything is typed
    form = ask($("fields"), await call("GET", `/forms/${name}?language=${language}`, { again }), $("f-whom"));
    return show("write", { focus: false });
  } catch (problem) {
    return show(problem.name === "NotSupportedError" ? "unsupported" : "unreachable");
  }
}

const chosen = () => organisation || $("f-whom")?.value;

async function submit() {
  complain("problem", "");
  const said = await form.read();
  if (!said) return undefined;
  if (said.payload.content.length > maxBytes) return complain("problem", word("create-too-large"));
  try {
    const body = { key: b64(key), form: name, envelope: b64(await sealOnce(said.payload)), language, ...said.facts };
    if (chosen()) body.organisation = chosen();
    const again = () => { complain("problem", word("trying-again")); say(word("trying-again")); };
    const placed = await call("POST", "/orders", { key: idempotencyKey, body, again });
    forget();
    return showReceipt(placed);
  } catch (error) {
    return explain(error);
  }
}

// A repeat must be the very same envelope: another one would be another answer.
async function sealOnce(payload) {
  const made = b64(writePayload(payload));
  if (unsent?.made === made) return unsent.envelope;
  const request = { id: (await deriveHandles(key)).id, publicKey: await requestPublicKey(key) };
  unsent = { made, envelope: await sealAnswer(request, payload) };
  return unsent.envelope;
}

function explain(error) {
  if (error.type === "conflict") return show("before");
  if (error.type === "invalid") form.refuse(error.errors);
  const known = {
    unauthorized: "order-signed-out", forbidden: "order-forbidden", "too-large": "create-too-large",
    "rate-limited": "create-rate-limited",
  };
  return complain("problem", word(known[error.type] ?? (isPassing(error) ? "create-unreachable" : "order-failed")));
}

function showReceipt(placed) {
  const part = (which) => document.querySelector(`[data-receipt="${which}"]`);
  part("ticket").hidden = false;
  part("ticket").querySelector("strong").textContent = placed.ticket.split(":").pop();
  setTime(part("now"), Date.now());
  setTime(part("until"), placed.expires_at);
  show("handed-in");
}

function forget() {
  form?.clear();
  form = unsent = null;
}

$("order").addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("order-button"), async () => {
    const sent = form;
    sent.hold(true);
    await submit();
    sent.hold(false);
  });
});
$("print").addEventListener("click", () => print());
$("retry").addEventListener("click", begin);
addEventListener("beforeunload", (event) => { if (form && !form.isEmpty()) event.preventDefault(); });
addEventListener("pagehide", forget);
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
if (crypto.subtle) {
  $("order-button").disabled = false;
  begin();
} else show("insecure");
