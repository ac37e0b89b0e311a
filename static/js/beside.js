// What stands beside a field: copy buttons, <button data-copy="id">, and those that show a password, data-reveal.
import { $, say, word } from "./dom.js";

// Bind every copy button below `root`; `onCopy(id)` hears of each success, by hand too.
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
  root.addEventListener("copy", ({ target }) => {
    if (getSelection().toString().includes(target.textContent.trim())) onCopy(target.id);
  });
}

async function copy(source) {
  try {
    const text = source.copied ?? source.textContent;
    await (source.rich ? copyRich(text, source.rich) : navigator.clipboard.writeText(text));
    return true;
  } catch {
    select(source);  // refused, or not there without https: marked, it is one key press away
    return false;
  }
}

// As a text with markup for programs that take one, and plain for those that do not.
const copyRich = (plain, html) => navigator.clipboard.write([new ClipboardItem({
  "text/plain": new Blob([plain], { type: "text/plain" }),
  "text/html": new Blob([html], { type: "text/html" }),
})]);

function select(source) {
  getSelection().selectAllChildren(source);
  source.focus?.();
}

function mark(button, done) {
  button.label ??= button.textContent;
  button.textContent = word(done ? "copied" : "copy-by-hand");
  clearTimeout(button.timer);
  button.timer = setTimeout(() => { button.textContent = button.label; }, 4000);
}

export function bindReveal(root) {
  for (const button of root.querySelectorAll("[data-reveal]")) {
    const field = $(button.dataset.reveal);
    const tell = () => {
      const shown = field.type === "text";
      button.textContent = word(shown ? "hide" : "show");
      button.setAttribute("aria-pressed", String(shown));
    };
    field.addEventListener("reveal", tell);
    button.addEventListener("click", () => {
      field.type = field.type === "text" ? "password" : "text";
      tell();
    });
  }
}
