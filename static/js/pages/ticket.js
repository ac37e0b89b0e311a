// A ticket: what became of its links; and for its agents two buttons, whose modules are fetched when one is pressed.
import { $, word } from "../dom.js";
import { followTrail } from "../trail.js";

const { desk, number } = $("ticket").dataset;
const refresh = followTrail(`/${desk}/${number}`);
let agent = null;

function tell(text) {
  $("start-trouble").textContent = text;
  $("start-trouble").hidden = !text;
}

async function open(what) {
  try {
    document.head.append($("extras").content);  // what the page says of the modules has them checked
    agent ??= (await import("../agent.js")).start(refresh);
    tell("");
    agent[what]();
  } catch {
    tell(word("not-loaded"));
  }
}

function start() {
  $("start-send").addEventListener("click", () => open("openSend"));
  $("start-ask").addEventListener("click", () => open("openAsk"));
  for (const id of ["start-send", "start-ask"]) $(id).disabled = !crypto.subtle;
  if (!crypto.subtle) tell(word("insecure"));
}

addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
if ($("start-send")) start();
