// Small helpers for the page at hand; text goes in as text, never as markup.
export const $ = (id) => document.getElementById(id);

// The page's script is here, whole: nobody needs to be told that it is missing.
for (const note of document.querySelectorAll(".late")) note.remove();
// Not by the address: what stands behind # there is a link.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("main").focus();
});

export const language = document.documentElement.lang;
// For dates and numbers: the reader's own region, where it speaks this language.
export const localeOf = (code) => (
  navigator.languages.find((own) => /^[a-z]{2}-[A-Z]{2}$/.test(own) && own.startsWith(code)) ?? { en: "en-GB" }[code] ?? code
);

// A sentence of this page's language, with its {slots} filled.
export function word(name, values = {}) {
  return fill($("words").content.getElementById(name).textContent, values);
}

export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (slot, key) => values[key] ?? slot);

// Show one of the page's views and move the reader there.
export function show(name, { focus = true } = {}) {
  for (const view of document.querySelectorAll("[data-view]")) view.hidden = view.dataset.view !== name;
  const help = $("contact");  // whom to ask, wherever somebody is stuck
  if (help) help.hidden = !document.querySelector(`[data-view="${name}"][data-stuck]`);
  const heading = document.querySelector(`[data-view="${name}"] h1`);
  document.title = document.title.replace(/^.*?(?= – )/, () => heading.textContent);
  if (focus) heading.focus();
}

// Tell those who listen to the page; the same sentence twice is told twice.
export function say(text) {
  $("live").textContent = "";
  setTimeout(() => { $("live").textContent = text; }, 50);
}

// Put a complaint beside the form, or take it away with an empty one.
export function complain(id, text, field) {
  const place = $(id);
  place.textContent = text;
  place.hidden = !text;
  for (const input of place.closest("form").querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  if (!text || !field) return;
  field.setAttribute("aria-invalid", "true");
  field.focus();
}

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Hand a file to the browser's own way of saving.
export function download(file) {
  const anchor = element("a", { href: URL.createObjectURL(file), download: file.name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
}

// A module that is fetched only when it is wanted: what the page says of it has it checked.
export function extra(module) {
  document.head.append($("extras").content);
  return import(module);
}

// A button that is busy stays where it is, and says so.
export async function busy(button, work) {
  if (button.ariaBusy) return;
  const label = button.textContent;
  button.ariaBusy = "true";  // not disabled: that would take the focus away
  if (button.dataset.busy) say(button.textContent = button.dataset.busy);
  try {
    await work();
  } finally {
    button.ariaBusy = null;
    button.textContent = label;
  }
}

// --- times and sizes as the reader writes them

export const moment = (date) => (
  new Intl.DateTimeFormat(localeOf(language), { dateStyle: "long", timeStyle: "short" }).format(new Date(date))
);

// For a reader elsewhere, in their language: with the zone's name.
export const momentWithZone = (date, of) => new Intl.DateTimeFormat(localeOf(of), {
  day: "numeric", month: "long", year: "numeric", hour: "numeric", minute: "2-digit", timeZoneName: "short",
}).format(new Date(date));

export function setTime(element, date) {
  element.dateTime = new Date(date).toISOString();
  element.textContent = moment(date);
}

export function size(bytes) {
  const [number, unit] = bytes < 1024 ? [bytes, "B"] : bytes < 2 ** 20 ? [bytes / 1024, "KiB"] : [bytes / 2 ** 20, "MiB"];
  return `${new Intl.NumberFormat(localeOf(language), { maximumFractionDigits: 1 }).format(number)} ${unit}`;
}
