// Requests and their answers: what only they need of docs/format.md.  Twin of secretsvc/envelope.py, as envelope.js is.
import { checkEnvelope, readPayload, writePayload } from "./envelope.js";
import {
  ID_BYTES, KEY_BYTES, NO_SALT, PREFIX, aes, b64, decodeB64, expand, fragment, hkdf, hmac, importKey, join, random, refuse,
} from "./primitives.js";

const ANSWER = 2;
const NONCE_BYTES = 12;

// --- links

export function formatRequestLink(publicUrl, id, publicKey) {
  checkRequest({ id, publicKey });
  return `${publicUrl.replace(/\/+$/, "")}/r#${b64(join(id, publicKey))}`;
}

/** Returns {id, publicKey}. */
export function readRequestLink(text) {
  const held = decodeB64(fragment(text), ID_BYTES + KEY_BYTES) ?? refuse("bad-request-link");
  return checkRequest({ id: held.slice(0, ID_BYTES), publicKey: held.slice(ID_BYTES) });
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

// --- keys

// WebCrypto takes a private key only as PKCS #8 (RFC 8410), whose last 32 bytes it is.
const PKCS8 = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 110, 4, 34, 4, 32];
const BASE_POINT = Uint8Array.of(9, ...new Uint8Array(31)); // times a private key it is the public key

async function x25519(privateKey, publicKey) {
  const own = await importKey("X25519", join(PKCS8, privateKey), ["deriveBits"], "pkcs8");
  const other = await importKey("X25519", publicKey, []);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "X25519", public: other }, own, 256));
}

export const answerToken = ({ id, publicKey }) => hkdf(join(id, publicKey), "answer-token");

export const requestPublicKey = async (key) => x25519(await hkdf(key, "request"), BASE_POINT);

// --- envelopes

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
