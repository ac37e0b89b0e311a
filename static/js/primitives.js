// What both parts of docs/format.md in JavaScript, envelope.js and answers.js, are made of: bytes and keys.

export const KEY_BYTES = 32;
export const ID_BYTES = 16;
export const PREFIX = "secretsvc/v1/";
const TRAILING = ".,;:!?)>]}'\"";

/** A refusal, `kind` its name in docs/format.md.  It carries nothing of the input. */
export class FormatError extends Error {
  constructor(kind) {
    super(kind);
    this.kind = kind;
  }
}

export const refuse = (kind) => { throw new FormatError(kind); };

// --- bytes

export const utf8 = (text) => new TextEncoder().encode(text);

export function readUtf8(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

export function join(...parts) {
  const chunks = parts.map((part) => (typeof part === "string" ? utf8(part) : part));
  const joined = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    joined.set(chunk, at);
    at += chunk.length;
  }
  return joined;
}

export const random = (length) => crypto.getRandomValues(new Uint8Array(length));

export function b64(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8192) { // a call takes only so many arguments
    binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export const unb64 = (text, length) => decodeB64(text, length) ?? refuse("damaged");

export function decodeB64(text, length) {
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

// --- primitives

export const importKey = (algorithm, bytes, uses, format = "raw") =>
  crypto.subtle.importKey(format, bytes, algorithm, false, uses);

export const NO_SALT = new Uint8Array(32); // the same to HMAC as none; WebCrypto takes no empty key

export async function hmac(key, ...parts) {
  const imported = await importKey({ name: "HMAC", hash: "SHA-256" }, key, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, join(...parts)));
}

// HKDF-Expand (RFC 5869); nothing here is longer than its first block.
export const expand = async (prk, length, ...info) => (await hmac(prk, ...info, [1])).slice(0, length);

export const hkdf = async (key, label, length = 32) => expand(await hmac(NO_SALT, key), length, PREFIX, label);

export async function aes(use, key, iv, additionalData, data) {
  const imported = await importKey("AES-GCM", key, [use]);
  try {
    return new Uint8Array(await crypto.subtle[use]({ name: "AES-GCM", iv, additionalData }, imported, data));
  } catch (error) {
    throw error.name === "OperationError" ? new FormatError("damaged") : error; // the tag
  }
}

// --- links as people paste them

export function fragment(text) {
  const trimmed = text.trim();
  let end = trimmed.length;
  while (end && TRAILING.includes(trimmed[end - 1])) end--;
  const link = trimmed.slice(0, end).replace(/%(?:25)?23/g, "#");
  return link.includes("#") ? link.slice(link.indexOf("#") + 1) : "";
}
