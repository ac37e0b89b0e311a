// Parts of a page of which one is shown at a time.
export function openPanel(name, focus) {
  for (const panel of document.querySelectorAll("[data-panel]")) panel.hidden = panel.dataset.panel !== name;
  focus.focus();
}
