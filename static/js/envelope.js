// The client's half of docs/format.md: the twin of secretsvc/envelope.py and payload.py, name for name; what only
// requests need is in answers.js.  Bytes are Uint8Array; what needs WebCrypto returns a promise.
import {
  FormatError, ID_BYTES, KEY_BYTES, PREFIX, aes, b64, decodeB64, fragment, hkdf, importKey, join, random, readUtf8, refuse,
  unb64, utf8,
} from "./primitives.js";

const NONCE_BYTES = 12;
const BLOCK_BYTES = 256;
const MAX_HEADER_BYTES = 1024;
const MAX_PASSWORD_BYTES = 1024;
const PASSWORD_ROUNDS = 600_000; // OWASP Password Storage Cheat Sheet, PBKDF2-HMAC-SHA256

const SEALED = 1;
const ANSWER = 2;
const SEALED_WITH_PASSWORD = 3;

const SURROGATE = /\p{Cs}/u;
const NOT_A_TYPE = /[\p{Cc}\p{Cs}]/u;
// With bidi characters "exe.txt" can be made to look like "txt.exe".
const NOT_A_NAME = /[\p{Cc}\p{Cs}\p{Bidi_Control}/\\]|^\.{0,2}$/u;

export { FormatError, b64, unb64 };

// --- links

export const newKey = () => random(KEY_BYTES);

export const formatLink = (publicUrl, key) => `${publicUrl.replace(/\/+$/, "")}/s#${b64(key)}`;

export const readLink = (text) => decodeB64(fragment(text), KEY_BYTES) ?? refuse("bad-link");

/** Makes `location.href` fit for reading: only there is what may stand behind a link written as %3E or such. */
export const readAddress = (href) => href.replace(/%(?:2[02]|3E|C2%A0)/gi, decodeURIComponent);

// --- derivations

/** Resolves to {id, token}, what the server knows a secret by. */
export async function deriveHandles(key) {
  return { id: await hkdf(key, "id", ID_BYTES), token: await hkdf(key, "token") };
}

/** Resolves to S, or null for the empty password, which means none.  Takes some tenths of a second. */
export async function stretchPassword(key, password) {
  if (!password) return null;
  // Before normalizing, which can take very long (NFKC makes at least one byte of four), and which in Firefox
  // hides lone surrogates.
  if (utf8(password).length > 4 * MAX_PASSWORD_BYTES || SURROGATE.test(password)) refuse("bad-password");
  const bytes = utf8(password.normalize("NFKC"));
  if (bytes.length > MAX_PASSWORD_BYTES) refuse("bad-password");
  const salt = await hkdf(key, "password");
  const algorithm = { name: "PBKDF2", hash: "SHA-256", salt, iterations: PASSWORD_ROUNDS };
  const imported = await importKey("PBKDF2", bytes, ["deriveBits"]);
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, imported, 256));
}

export const proof = (stretched) => hkdf(stretched, "proof");

// --- payload

/** A secret with what describes it.  Name and type are a stranger's: for showing, never a path. */
export class Payload {
  constructor(content, name = null, type = null) {
    if (name !== null && (utf8(name).length > 255 || NOT_A_NAME.test(name))) refuse("bad-header");
    if (type !== null && (utf8(type).length > 127 || NOT_A_TYPE.test(type))) refuse("bad-header");
    Object.assign(this, { content, name, type });
  }

  /** Returns null for a named file and for what is not UTF-8. */
  text() {
    return this.name === null ? readUtf8(this.content) : null;
  }
}

const padded = (length) => Math.ceil(length / BLOCK_BYTES) * BLOCK_BYTES;

export function writePayload({ content, name, type }) {
  const fields = Object.entries({ name, type }).filter(([, value]) => value !== null);
  const body = join(writeStrings(fields), "\n", content, [0x80]);
  return join(body, new Uint8Array(padded(body.length) - body.length));
}

export function readPayload(bytes) {
  let end = bytes.length;
  while (bytes[end - 1] === 0) end--;
  const zeros = bytes.length - end;
  if (bytes.length % BLOCK_BYTES || zeros >= BLOCK_BYTES || bytes[end - 1] !== 0x80) refuse("damaged");
  const lineFeed = bytes.subarray(0, MAX_HEADER_BYTES + 1).indexOf(0x0a);
  const header = lineFeed < 0 ? null : readStrings(bytes.subarray(0, lineFeed));
  if (!header || [...header.keys()].some((key) => key !== "name" && key !== "type")) refuse("bad-header");
  return new Payload(bytes.slice(lineFeed + 1, end - 1), header.get("name"), header.get("type"));
}

/** Takes a Map or pairs. */
export function writeAnswers(entries) {
  const answers = [...new Map(entries)];
  if (answers.flat().some((text) => SURROGATE.test(text))) refuse("bad-answer");
  return new Payload(utf8(writeStrings(answers)), null, "application/json");
}

/** Returns a Map, in the order they were written. */
export function readAnswers({ content, name, type }) {
  const isForm = name === null && type === "application/json";
  return (isForm && readStrings(content)) || refuse("bad-answer");
}

// As JSON.stringify writes an object; but objects have an order and a __proto__ of their own.
const writeStrings = (pairs) =>
  `{${pairs.map((pair) => pair.map((text) => JSON.stringify(text)).join(":")).join(",")}}`;

// Returns the flat JSON object of strings that `bytes` are, as a Map; null if they are anything else.
function readStrings(bytes) {
  const text = readUtf8(bytes) ?? "";
  let values;
  try {
    values = Object.values(JSON.parse(text));
  } catch {
    return null;
  }
  if (!/^\s*\{/.test(text) || values.some((value) => typeof value !== "string")) return null;
  // Of equal keys JSON.parse keeps the last.  Whatever it dropped had at least a key: where there are but two
  // strings a value it dropped nothing, and they are key and value in turn.
  const strings = (text.match(/"[^"\\]*(?:\\.[^"\\]*)*"/g) ?? []).map((string) => JSON.parse(string));
  if (strings.length !== 2 * values.length || strings.some((string) => SURROGATE.test(string))) return null;
  return new Map(values.map((_, at) => strings.slice(2 * at, 2 * at + 2)));
}

// --- envelopes

const overhead = (type) => (type === ANSWER ? 1 + 32 + 16 : 1 + 12 + 16);

/** Returns the length of the longest envelope, whatever its header. */
export function maxEnvelopeBytes(contentBytes, { answer = false } = {}) {
  return overhead(answer ? ANSWER : SEALED) + padded(MAX_HEADER_BYTES + 1 + contentBytes + 1);
}

/** Returns the envelope's type, once it is the one expected and the length fits it. */
export function checkEnvelope(envelope, { answer = false, password = false }) {
  const [type] = envelope;
  if (type === undefined) refuse("damaged");
  const expected = password ? SEALED_WITH_PASSWORD : SEALED;
  if (type !== (answer ? ANSWER : expected) || (answer && password)) refuse("unknown-type");
  const payloadBytes = envelope.length - overhead(type);
  if (payloadBytes <= 0 || payloadBytes % BLOCK_BYTES) refuse("damaged");
  return type;
}

/** `stretched` is S, where there is a password.  A link key seals once.  `nonce` is for the test vectors. */
export async function seal(key, payload, { stretched = null, nonce = random(NONCE_BYTES) } = {}) {
  const type = stretched ? SEALED_WITH_PASSWORD : SEALED;
  return join([type], nonce, await box("encrypt", type, key, stretched, nonce, writePayload(payload)));
}

export async function unseal(key, envelope, { stretched = null } = {}) {
  const type = checkEnvelope(envelope, { password: stretched !== null });
  const nonce = envelope.slice(1, 1 + NONCE_BYTES);
  return readPayload(await box("decrypt", type, key, stretched, nonce, envelope.slice(1 + NONCE_BYTES)));
}

async function box(use, type, key, stretched, nonce, data) {
  const boxKey = await (stretched ? hkdf(join(key, stretched), "box-password") : hkdf(key, "box"));
  return aes(use, boxKey, nonce, join(PREFIX, "box", [type], await hkdf(key, "id", ID_BYTES)), data);
}
