// A ticket: what became of its links; and for its agents two buttons, whose modules are fetched when one is pressed.
import { $, word } from "../dom.js";
import { openPanel } from "../panels.js";
import { followTrail } from "../trail.js";

const { desk, number } = $("ticket").dataset;
const refresh = followTrail(`/${desk}/${number}`);
let agent = null;

function tell(text) {
  $("start-trouble").textContent = text;
  $("start-trouble").hidden = !text;
}

// The form is there at once, so that nobody types into nothing; its button when all has come.
async function open(name) {
  openPanel(name, $(name).querySelector("textarea, select"));
  try {
    document.head.append($("extras").content);  // what the page says of the modules has them checked
    agent ??= (await import("../agent.js")).start(refresh);
    tell("");
    agent.opened(name);
  } catch {
    tell(word("not-loaded"));
  }
}

function start() {
  $("start-send").addEventListener("click", () => open("send"));
  $("start-ask").addEventListener("click", () => open("ask"));
  for (const id of ["start-send", "start-ask"]) $(id).disabled = !crypto.subtle;
  if (!crypto.subtle) tell(word("insecure"));
}

addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
if ($("start-send")) start();
