// The sender's receipt: how it stands, followed live.
import { call } from "../api.js";
import { $, complain, setTime, show, word } from "../dom.js";
import { b64, unb64 } from "../envelope.js";
import { awaitLink, isReload, keepLink, takeLink } from "../link.js";
import { follow } from "../status.js";

let held = null;  // what stands behind the # of the receipt link

async function begin(text) {
  complain("problem", "");
  const fragment = text.trim().replace(/[.,;:!?)>\]}'"]+$/, "").replace(/%(?:25)?23/, "#").split("#").pop();
  let bytes;
  try {
    bytes = unb64(fragment, 48);
  } catch {
    show("paste", { focus: false });
    return complain("problem", word("bad-receipt"), $("pasted"));
  }
  show("checking", { focus: false });
  const [id, token] = [bytes.slice(0, 16), bytes.slice(16)];
  try {
    const state = await call("GET", `/secrets/${b64(id)}`, { token, again: () => { $("checking-again").hidden = false; } });
    held = fragment;
    setTime($("created-at"), state.created_at);
    setTime($("expires-at"), state.expires_at);
    follow(id, token, state);
    return show("receipt");
  } catch (problem) {
    show("paste", { focus: false });
    return complain("problem", word(problem.type === "not-found" ? "no-receipt" : "receipt-unreachable"), $("pasted"));
  }
}

function arrive() {
  const taken = takeLink("/receipt");
  if (taken) return begin(taken.text);
  $("reloaded").hidden = !isReload();
  return show("paste", { focus: false });
}

$("paste-form").addEventListener("submit", (event) => {
  event.preventDefault();
  begin($("pasted").value);
});
keepLink("/receipt", () => held);
awaitLink();
addEventListener("pagehide", () => { $("pasted").value = ""; });
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
for (const button of document.querySelectorAll("main button:disabled")) button.disabled = false;
arrive();
