// What an agent sends along with a link: in the customer's language, as plain text, Markdown or HTML.  The texts
// come with open slots; link and time are filled in here.
import { call } from "./api.js";
import { $, element, fill, momentWithZone, word } from "./dom.js";

const LANGUAGES = ["de", "en"];
let texts = null;

// Fetch the texts of a ticket, if they are not here yet.
export async function loadTexts(path) {
  texts ??= await call("GET", `/tickets${path}/texts`, { patient: () => false }).catch(() => null);
}

// Show the reply about `made`: { kind, link, until, password }.
export function showReply(made) {
  const format = document.querySelector("[name=format]:checked").value;
  const language = $("reply-language").value;
  const plain = textOf(made, language, "plain");
  const place = $("reply");
  place.lang = LANGUAGES.includes(language) ? language : "";
  place.classList.toggle("rich", format === "html");
  place.copied = format === "markdown" ? textOf(made, language, format) : plain;
  place.rich = format === "html" ? textOf(made, language, format) : undefined;
  if (format === "html") place.replaceChildren(...paragraphs(plain, made.link));
  else place.textContent = place.copied;
}

export const plainReply = (made) => textOf(made, $("reply-language").value, "plain");

export const hasTexts = () => Boolean(texts);

function textOf({ kind, link, until, password }, language, format) {
  const text = texts?.[kind]?.[language]?.[String(Boolean(password))]?.[format];
  return text ? fill(text, { link, until: momentWithZone(until, language) }) : link;
}

// The same paragraphs as in the HTML that is copied, for reading, and for copying by hand.
function paragraphs(plain, link) {
  return plain.trim().split("\n\n").map((text) => {
    if (text !== link) return element("p", {}, text);
    const anchor = element("a", { href: link, tabindex: "-1" }, link);
    anchor.addEventListener("click", (event) => event.preventDefault());  // it is the customer's to open
    return element("p", {}, anchor);
  });
}

// Nothing of it stays in the page.
export function forgetReply() {
  $("reply").replaceChildren();
  delete $("reply").copied;
  delete $("reply").rich;
}

export const noTexts = () => (texts ? "" : word("no-texts"));
