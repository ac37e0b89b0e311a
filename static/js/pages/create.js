// Send a secret: seal it here, hand the envelope in, give the link out.
import { call, isPassing, newIdempotencyKey } from "../api.js";
import { compose } from "../compose.js";
import { bindCopy, bindReveal } from "../beside.js";
import { $, busy, complain, extra, fill, language, moment, momentWithZone, say, setTime, show, word } from "../dom.js";
import { FormatError, b64, formatLink, unb64, writePayload } from "../envelope.js";
import { sealSecret } from "../sealing.js";
import { follow } from "../status.js";

const main = document.querySelector("main");
const secret = compose(Number(main.dataset.maxBytes));
let unsent = null;  // the sealed secret whose create has not been answered yet
let copied = true;  // whether it is safe to leave the page

function seconds() {
  if ($("expires").value !== "other") return Number($("expires").value);
  return Math.round(Number($("expires-count").value) * Number($("expires-unit").value));
}

function showUntil() {
  $("expires-other").hidden = $("expires").value !== "other";
  const found = seconds();
  const fits = found >= 60 && found <= 31 * 86_400;
  $("until").textContent = fits ? word("until", { time: moment(Date.now() + found * 1000) }) : word("bad-expiry");
  return fits;
}

async function submit() {
  complain("problem", "");
  if (!showUntil()) return complain("problem", word("bad-expiry"), $("expires-count"));
  const payload = await secret.payload();
  if (!payload) return undefined;
  const options = { expires_in: seconds() };
  if ($("reader-language").value) options.language = $("reader-language").value;
  try {
    const sealed = await sealOnce(payload, $("password").value, options);
    const apiKey = $("api-key")?.value;
    const again = () => { complain("problem", word("trying-again")); say(word("trying-again")); };
    const created = await call("POST", "/secrets", { body: sealed.body, key: sealed.idempotencyKey, apiKey, again });
    unsent = null;
    showCreated(created, sealed);
  } catch (error) {
    explain(error);
  }
  return undefined;
}

// Sealed anew only if something was changed since: a repeat must be the very same.
async function sealOnce(payload, password, options) {
  const made = b64(writePayload(payload)) + JSON.stringify([password, options]);
  if (unsent?.made === made) return unsent;
  const { key, id, body } = await sealSecret(payload, password);
  unsent = { made, key, id, password, body: { ...body, ...options }, idempotencyKey: newIdempotencyKey() };
  return unsent;
}

function explain(error) {
  if (error instanceof FormatError && error.kind === "bad-password") {
    return complain("problem", word("bad-password"), $("password"));
  }
  const known = ["unauthorized", "forbidden", "rate-limited", "too-large"];
  const passing = isPassing(error);
  const name = known.includes(error.type) ? error.type : passing ? "unreachable" : "failed";
  return complain("problem", word(`create-${name}`), name === "unauthorized" ? $("api-key") : undefined);
}

function showCreated(created, sealed) {
  const link = formatLink(main.dataset.base, sealed.key);
  $("link").textContent = link;
  $("receipt").textContent = created.receipt_url;
  setTime($("created-until"), created.expires_at);
  setTime($("preview-until"), created.expires_at);
  $("created-password").hidden = !sealed.password;
  $("created-password-text").textContent = sealed.password;
  $("message-language").value = $("reader-language").value || language;
  const writeMessage = () => {
    $("message").lang = $("message-language").value;
    $("message").textContent = message($("message").lang, link, created, sealed);
  };
  $("message-language").addEventListener("change", writeMessage);
  writeMessage();
  follow(sealed.id, unb64(created.receipt_token), created);
  secret.clear();
  $("password").value = "";
  copied = false;
  show("created");
}

async function drawQr() {
  if ($("qr").firstChild) return;
  const { encode, path } = await extra("./qr.js").catch(() => ({}));
  $("qr-failed").hidden = Boolean(encode);
  if (!encode) return;
  const modules = encode($("link").textContent);
  const width = modules.length + 8;  // with the quiet zone
  const svg = $("qr");
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "path");
  drawn.setAttribute("d", path(modules));
  svg.setAttribute("viewBox", `0 0 ${width} ${width}`);
  svg.replaceChildren(drawn);
}

function message(of, link, created, sealed) {
  const parts = document.querySelector(`template[data-message="${of}"]`).content.querySelectorAll("p");
  const said = [...parts].map((part) => part.textContent).slice(0, sealed.password ? 2 : 1).join("\n\n");
  return fill(said, { link, time: momentWithZone(created.expires_at, of) });
}

function forget() {
  for (const id of ["link", "receipt", "message", "created-password-text", "qr"]) $(id).replaceChildren();
  secret.clear();
  $("password").value = "";
  if ($("api-key")) $("api-key").value = "";
  unsent = null;
}

async function generate(field, kind) {
  const { [kind]: make } = await extra("./generator.js").catch(() => ({}));
  if (!make || field.hidden) return;
  if (field === $("secret")) field.setRangeText(make());  // what was typed stays
  else {
    field.value = make();
    field.type = "text";
    field.dispatchEvent(new Event("reveal"));
  }
  say(word("generated"));
}

function start() {
  $("generate-secret").addEventListener("click", () => generate($("secret"), "newSecret"));
  $("generate").addEventListener("click", () => generate($("password"), "newPassword"));
  bindReveal(document);
  for (const id of ["expires", "expires-count", "expires-unit"]) $(id).addEventListener("input", showUntil);
  $("create").addEventListener("submit", (event) => {
    event.preventDefault();
    busy($("create-button"), async () => {
      secret.hold(true);
      await submit();
      secret.hold(false);
    });
  });
  $("qr-wanted").addEventListener("toggle", drawQr);
  bindCopy(document, (id) => { if (id === "link" || id === "message") copied = true; });
  addEventListener("beforeunload", (event) => {
    const isUncopied = !copied && !$("revoking").hidden;  // nor ended
    if (isUncopied || (!$("create").closest("[hidden]") && !secret.isEmpty())) event.preventDefault();
  });
  addEventListener("pagehide", forget);
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  showUntil();
  if (!crypto.subtle) return complain("problem", word("insecure"));
  $("create-button").disabled = false;
  return undefined;
}

start();
