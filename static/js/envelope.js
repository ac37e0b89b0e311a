// The client's half of docs/format.md: the twin of secretsvc/envelope.py and payload.py, name for name.
// Bytes are Uint8Array; what needs WebCrypto returns a promise.

const KEY_BYTES = 32;
const ID_BYTES = 16;
const NONCE_BYTES = 12;
const BLOCK_BYTES = 256;
const MAX_HEADER_BYTES = 1024;
const MAX_PASSWORD_BYTES = 1024;
const PASSWORD_ROUNDS = 600_000; // OWASP Password Storage Cheat Sheet, PBKDF2-HMAC-SHA256

const SEALED = 1;
const ANSWER = 2;
const SEALED_WITH_PASSWORD = 3;

const PREFIX = "secretsvc/v1/";
const TRAILING = ".,;:!?)>]}'\"";
const SURROGATE = /\p{Cs}/u;
const NOT_A_TYPE = /[\p{Cc}\p{Cs}]/u;
// With bidi characters "exe.txt" can be made to look like "txt.exe".
const NOT_A_NAME = /[\p{Cc}\p{Cs}\p{Bidi_Control}/\\]|^\.{0,2}$/u;

/** A refusal, `kind` its name in docs/format.md.  It carries nothing of the input. */
export class FormatError extends Error {
  constructor(kind) {
    super(kind);
    this.kind = kind;
  }
}

const refuse = (kind) => { throw new FormatError(kind); };

// --- bytes

const utf8 = (text) => new TextEncoder().encode(text);

function readUtf8(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

function join(...parts) {
  const chunks = parts.map((part) => (typeof part === "string" ? utf8(part) : part));
  const joined = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    joined.set(chunk, at);
    at += chunk.length;
  }
  return joined;
}

const random = (length) => crypto.getRandomValues(new Uint8Array(length));

export function b64(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8192) { // a call takes only so many arguments
    binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export const unb64 = (text, length) => decodeB64(text, length) ?? refuse("damaged");

function decodeB64(text, length) {
  let binary;
  try {
    binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return null;
  }
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  // atob overlooks white space, padding and stray bits; encoding again shows them.
  return b64(bytes) === text && (length ?? bytes.length) === bytes.length ? bytes : null;
}

// --- links

export const newKey = () => random(KEY_BYTES);

export const formatLink = (publicUrl, key) => `${publicUrl.replace(/\/+$/, "")}/s#${b64(key)}`;

export const readLink = (text) => decodeB64(fragment(text), KEY_BYTES) ?? refuse("bad-link");

export function formatRequestLink(publicUrl, id, publicKey) {
  checkRequest({ id, publicKey });
  return `${publicUrl.replace(/\/+$/, "")}/r#${b64(join(id, publicKey))}`;
}

/** Returns {id, publicKey}. */
export function readRequestLink(text) {
  const held = decodeB64(fragment(text), ID_BYTES + KEY_BYTES) ?? refuse("bad-request-link");
  return checkRequest({ id: held.slice(0, ID_BYTES), publicKey: held.slice(ID_BYTES) });
}

/** Makes `location.href` fit for reading: only there is what may stand behind a link written as %3E or such. */
export const readAddress = (href) => href.replace(/%(?:2[02]|3E|C2%A0)/gi, decodeURIComponent);

function fragment(text) {
  const trimmed = text.trim();
  let end = trimmed.length;
  while (end && TRAILING.includes(trimmed[end - 1])) end--;
  const link = trimmed.slice(0, end).replace(/%(?:25)?23/g, "#");
  return link.includes("#") ? link.slice(link.indexOf("#") + 1) : "";
}

function checkRequest(request) {
  if (request.id.length !== ID_BYTES || !isUsable(request.publicKey)) refuse("bad-request-link");
  return request;
}

const FIELD_PRIME = 2n ** 255n - 19n;
// Every u of order 1, 2, 4 or 8 on Curve25519 and its twist: the shared secret would be zero, whoever asks.
const LOW_ORDER = [
  0n, 1n, FIELD_PRIME - 1n,
  0xb8495f16056286fdb1329ceb8d09da6ac49ff1fae35616aeb8413b7c7aebe0n,
  0x57119fd0dd4e22d8868e1c58c45c44045bef839c55b1d0b1248c50a3bc959c5fn,
];

function isUsable(publicKey) {
  const u = publicKey.reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);
  return publicKey.length === KEY_BYTES && u < FIELD_PRIME && !LOW_ORDER.includes(u);
}

// --- primitives

const importKey = (algorithm, bytes, uses, format = "raw") =>
  crypto.subtle.importKey(format, bytes, algorithm, false, uses);

const NO_SALT = new Uint8Array(32); // the same to HMAC as none; WebCrypto takes no empty key

async function hmac(key, ...parts) {
  const imported = await importKey({ name: "HMAC", hash: "SHA-256" }, key, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, join(...parts)));
}

// HKDF-Expand (RFC 5869); nothing here is longer than its first block.
const expand = async (prk, length, ...info) => (await hmac(prk, ...info, [1])).slice(0, length);

const hkdf = async (key, label, length = 32) => expand(await hmac(NO_SALT, key), length, PREFIX, label);

async function aes(use, key, iv, additionalData, data) {
  const imported = await importKey("AES-GCM", key, [use]);
  try {
    return new Uint8Array(await crypto.subtle[use]({ name: "AES-GCM", iv, additionalData }, imported, data));
  } catch (error) {
    throw error.name === "OperationError" ? new FormatError("damaged") : error; // the tag
  }
}

// WebCrypto takes a private key only as PKCS #8 (RFC 8410), whose last 32 bytes it is.
const PKCS8 = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 110, 4, 34, 4, 32];
const BASE_POINT = Uint8Array.of(9, ...new Uint8Array(31)); // times a private key it is the public key

async function x25519(privateKey, publicKey) {
  const own = await importKey("X25519", join(PKCS8, privateKey), ["deriveBits"], "pkcs8");
  const other = await importKey("X25519", publicKey, []);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "X25519", public: other }, own, 256));
}

// --- derivations

/** Resolves to {id, token}, what the server knows a secret by. */
export async function deriveHandles(key) {
  return { id: await hkdf(key, "id", ID_BYTES), token: await hkdf(key, "token") };
}

export const answerToken = ({ id, publicKey }) => hkdf(join(id, publicKey), "answer-token");

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

export const requestPublicKey = async (key) => x25519(await hkdf(key, "request"), BASE_POINT);

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

/** Only the request's own link key unseals it.  `ephemeral`, a private key, is for the test vectors. */
export async function sealAnswer(request, payload, { ephemeral = random(KEY_BYTES) } = {}) {
  const { id, publicKey } = checkRequest(request);
  const enc = await x25519(ephemeral, BASE_POINT);
  const dh = await x25519(ephemeral, publicKey);
  return join([ANSWER], enc, await hpke("encrypt", dh, enc, publicKey, id, writePayload(payload)));
}

/** It proves only that the sender held the request link. */
export async function unsealAnswer(key, envelope) {
  checkEnvelope(envelope, { answer: true });
  const enc = envelope.slice(1, 1 + KEY_BYTES);
  if (!isUsable(enc)) refuse("damaged");
  const dh = await x25519(await hkdf(key, "request"), enc);
  const [id, sealed] = [await hkdf(key, "id", ID_BYTES), envelope.slice(1 + KEY_BYTES)];
  return readPayload(await hpke("decrypt", dh, enc, await requestPublicKey(key), id, sealed));
}

// --- HPKE (RFC 9180): base mode, single shot; sections 4, 4.1 and 5.1

const KEM = join("KEM", [0, 0x20]); // DHKEM(X25519, HKDF-SHA256)
const SUITE = join("HPKE", [0, 0x20, 0, 1, 0, 2]); // with HKDF-SHA256 and AES-256-GCM

const labeledExtract = (suite, salt, ...ikm) => hmac(salt, "HPKE-v1", suite, ...ikm);

const labeledExpand = (suite, prk, length, ...info) =>
  expand(prk, length, [0, length], "HPKE-v1", suite, ...info);

async function hpke(use, dh, enc, publicKey, id, data) {
  const prk = await labeledExtract(KEM, NO_SALT, "eae_prk", dh);
  const shared = await labeledExpand(KEM, prk, 32, "shared_secret", enc, publicKey);
  const pskIdHash = await labeledExtract(SUITE, NO_SALT, "psk_id_hash");
  const infoHash = await labeledExtract(SUITE, NO_SALT, "info_hash", PREFIX, "answer", id);
  const secret = await labeledExtract(SUITE, shared, "secret");
  const derive = (length, label) => labeledExpand(SUITE, secret, length, label, [0], pskIdHash, infoHash);
  return aes(use, await derive(32, "key"), await derive(NONCE_BYTES, "base_nonce"), new Uint8Array(), data);
}
