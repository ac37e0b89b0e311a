// Show and hide what stands in a password field: <button data-reveal="id">.
import { $, word } from "./dom.js";

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
