// What a file may be called inside an envelope.

// Characters a file name may not hold in an envelope: controls, bidi marks, path separators.
const NOT_IN_NAME = /[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069/\\]|\p{Surrogate}/gu;
const encoder = new TextEncoder();

export function safeName(name) {
  let safe = name.replace(NOT_IN_NAME, "_").replace(/^\.{1,2}$/, "_") || "_";
  while (encoder.encode(safe).length > 255) safe = [...safe].slice(1).join("");  // the end tells the kind
  return safe;
}
