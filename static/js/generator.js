// Passwords of the browser's own making; every one that fits is equally likely.

const DIGITS = "0123456789";
const LOWER = "abcdefghijklmnopqrstuvwxyz";
// The one symbol that shells and URLs leave alone and that a double click takes for a letter.
const SYMBOL = "_";
const KINDS = [LOWER, LOWER.toUpperCase(), DIGITS, SYMBOL];

/** To be told over the phone: four groups of five without 0, o, 1, l and i; 99 bits. */
export function newPassword() {
  const group = () => draw("abcdefghjkmnpqrstuvwxyz23456789", 5);
  return [group(), group(), group(), group()].join("-");
}

/** For a new account: 24 characters with at least one of every kind; 141 bits. */
export function newSecret() {
  for (;;) {
    const secret = draw(KINDS.join(""), 24);
    // Drawn anew as a whole: to mend a place would make some secrets likelier.
    if (KINDS.every((kind) => [...kind].some((character) => secret.includes(character)))) return secret;
  }
}

function draw(characters, length) {
  return Array.from({ length }, () => characters[below(characters.length)]).join("");
}

// Bytes over the last full multiple are drawn anew: the rest of a division would favour the first few.
function below(count) {
  const limit = 256 - 256 % count;
  for (;;) {
    const [byte] = crypto.getRandomValues(new Uint8Array(1));
    if (byte < limit) return byte % count;
  }
}
