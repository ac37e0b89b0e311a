// Copy buttons: <button data-copy="id of what to copy">.
import { $, say, word } from "./dom.js";

// Bind every copy button below `root`; `onCopy(id)` hears of each success.
export function bindCopy(root, onCopy = () => {}) {
  root.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = $(button.dataset.copy);
    const done = await copy(source);
    mark(button, done);
    say(word(done ? "copied" : "copy-refused"));
    if (done) onCopy(source.id);
  });
}

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.copied ?? source.textContent);
    return true;
  } catch {
    select(source);  // refused, or not there without https: marked, it is one key press away
    return false;
  }
}

function select(source) {
  source.classList.remove("veiled");
  getSelection().selectAllChildren(source);
  source.focus?.();
}

function mark(button, done) {
  button.label ??= button.textContent;
  button.textContent = word(done ? "copied" : "copy-by-hand");
  clearTimeout(button.timer);
  button.timer = setTimeout(() => { button.textContent = button.label; }, 4000);
}
