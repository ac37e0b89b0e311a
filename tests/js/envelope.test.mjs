// The link format in JavaScript: the vectors every implementation runs, and what they cannot say.

import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { COUNTS, cases } from "./vectors.mjs";

globalThis.crypto ??= webcrypto; // Node 18 has it under this name only
const envelope = { ...await import("../../static/js/envelope.js"), ...await import("../../static/js/answers.js") };

const { FormatError, Payload, b64, unb64 } = envelope;
const KEY = Uint8Array.from({ length: 32 }, (_, at) => at);
const OTHER = KEY.map((byte) => byte ^ 0xff);
const SECRET = new TextEncoder().encode("correct horse battery staple");
const MIB = 2 ** 20;

const load = (name) => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8"));
const VECTORS = cases(envelope, { v1: load("v1"), own: load("own"), refusals: load("refusals") });

const refused = (kind) => (error) => error instanceof FormatError && error.kind === kind;
const text = (string) => new Payload(new TextEncoder().encode(string));
const form = (string) => new Payload(new TextEncoder().encode(string), null, "application/json");

async function requestOf(key) {
  return { id: (await envelope.deriveHandles(key)).id, publicKey: await envelope.requestPublicKey(key) };
}

async function milliseconds(work) {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

// --- vectors

test("all vectors are there", () => {
  const found = {};
  for (const { group } of VECTORS) found[group] = (found[group] ?? 0) + 1;
  assert.deepEqual(found, COUNTS);
});

for (const { group, name, check } of VECTORS) test(`${group}: ${name}`, check);

// --- base64url

test("bytes come back from base64url", () => {
  for (let length = 0; length < 300; length += 1) {
    const bytes = crypto.getRandomValues(new Uint8Array(length));
    assert.equal(b64(bytes), Buffer.from(bytes).toString("base64url"));
    assert.deepEqual(unb64(b64(bytes)), bytes);
    assert.deepEqual(unb64(b64(bytes), length), bytes);
  }
});

test("a view of a larger buffer is written as itself", () => {
  assert.equal(b64(new Uint8Array(KEY.buffer, 1, 3)), "AQID");
});

// --- links

test("a link is the public address and the key", () => {
  const [key, written] = [new Uint8Array(32), "A".repeat(43)];
  assert.equal(envelope.formatLink("https://secrets.example", key), `https://secrets.example/s#${written}`);
  assert.equal(envelope.formatLink("http://[::1]:8000/x//", key), `http://[::1]:8000/x/s#${written}`);
});

test("an unusable request link is not written", async () => {
  const { id, publicKey } = await requestOf(KEY);
  for (const held of [
    [id.slice(1), publicKey],
    [id, publicKey.slice(1)],
    [id, Uint8Array.of(...publicKey, 0)],
    [id, new Uint8Array(32)],
  ]) {
    assert.throws(() => envelope.formatRequestLink("https://x", ...held), refused("bad-request-link"));
  }
});

test("an answer is not sealed to an unusable request", async () => {
  const request = { ...(await requestOf(KEY)), publicKey: new Uint8Array(32).fill(0xff) };
  await assert.rejects(envelope.sealAnswer(request, text("x")), refused("bad-request-link"));
});

test("what a browser makes of what stands behind a link is undone in its address alone", () => {
  const link = envelope.formatLink("https://secrets.example", KEY);
  for (const behind of [">", '"', "\">.", " ", ">\u00a0", ">, \u00a0"]) {
    const address = new URL(`${link}${behind}|`).href.slice(0, -1); // spaces at the very end it would drop
    assert.deepEqual(envelope.readLink(envelope.readAddress(address)), KEY, address);
  }
  for (const behind of ["%3E", "%22"]) {
    assert.throws(() => envelope.readLink(link + behind), refused("bad-link"));
    assert.deepEqual(envelope.readLink(envelope.readAddress(link.replace("#", "%23") + behind)), KEY);
  }
  for (const behind of ["%41", "%", "%3", "%E2%80%9D", "x%3E"]) {
    assert.throws(() => envelope.readLink(envelope.readAddress(link + behind)), refused("bad-link"));
  }
});

test("a link with a very long tail is refused at once", async () => {
  const link = `${envelope.formatLink("https://x", KEY)}${".".repeat(MIB)}x`;
  const took = await milliseconds(() => assert.throws(() => envelope.readLink(link), refused("bad-link")));
  assert.ok(took < 1000, `${took} ms`);
});

test("every key is fresh", () => {
  const keys = new Set(Array.from({ length: 100 }, () => b64(envelope.newKey())));
  assert.equal(keys.size, 100);
  assert.ok([...keys].every((key) => key.length === 43));
});

// --- passwords

test("the empty password means none", async () => {
  assert.equal(await envelope.stretchPassword(KEY, ""), null);
});

test("a huge password is refused before it is normalised", async () => {
  const huge = `a${"\u0323\u0301".repeat(250_000)}`;
  const normalized = String.prototype.normalize;
  let asked = 0;
  String.prototype.normalize = function (...form) {
    asked += 1;
    return normalized.apply(this, form);
  };
  try {
    await assert.rejects(envelope.stretchPassword(KEY, huge), refused("bad-password"));
    assert.equal(asked, 0);
    await assert.rejects(envelope.stretchPassword(KEY, "\ufdfa".repeat(32)), refused("bad-password"));
    assert.equal(asked, 1);
  } finally {
    String.prototype.normalize = normalized;
  }
});

test("composed and decomposed letters are one password, and spaces count", async () => {
  const [composed, decomposed, spaced] = await Promise.all(
    ["gr\u00fc\u00dfe", "gru\u0308\u00dfe", "gr\u00fc\u00dfe "].map((p) => envelope.stretchPassword(KEY, p)),
  );
  assert.deepEqual(composed, decomposed);
  assert.notDeepEqual(composed, spaced);
});

test("password alone or link alone opens nothing", async () => {
  const sealed = await envelope.seal(KEY, new Payload(SECRET), { stretched: KEY });
  await assert.rejects(envelope.unseal(KEY, sealed, { stretched: OTHER }), refused("damaged"));
  await assert.rejects(envelope.unseal(OTHER, sealed, { stretched: KEY }), refused("damaged"));
  await assert.rejects(envelope.unseal(KEY, sealed), refused("unknown-type"));
});

// --- payload

test("only unnamed UTF-8 is text", () => {
  const cases = [
    [text("gr\u00fc\u00dfe\r\n"), "gr\u00fc\u00dfe\r\n"],
    [new Payload(Uint8Array.of(0xef, 0xbb, 0xbf, 0x78), null, "text/plain"), "\ufeffx"],
    [text(""), ""],
    [new Payload(Uint8Array.of(0xff)), null],
    [new Payload(Uint8Array.of(0xed, 0xa0, 0x80)), null],
    [new Payload(Uint8Array.of(0x78), "x.txt"), null],
  ];
  for (const [payload, expected] of cases) assert.equal(payload.text(), expected);
});

test("a payload without name and type has null for both", () => {
  for (const payload of [text("x"), new Payload(SECRET, undefined, undefined)]) {
    assert.deepEqual([payload.name, payload.type], [null, null]);
    const read = envelope.readPayload(envelope.writePayload(payload));
    assert.deepEqual([read.name, read.type], [null, null]);
  }
});

test("padding is judged before the header", () => {
  const padded = new Uint8Array(256);
  padded.set(new TextEncoder().encode("[]\nx"));
  assert.throws(() => envelope.readPayload(padded), refused("damaged"));
});

test("answers come back in their order, whatever their keys mean to JavaScript", () => {
  const pairs = [["z", "1"], ["__proto__", "2"], ["10", "3"], ["9", "4"], ["constructor", "5"], ["", "\0\""]];
  const written = envelope.writeAnswers(new Map(pairs));
  assert.equal(
    written.text(),
    '{"z":"1","__proto__":"2","10":"3","9":"4","constructor":"5","":"\\u0000\\""}',
  );
  assert.deepEqual([...envelope.readAnswers(written)], pairs);
  assert.equal({}["2"], undefined);
});

test("a key that comes twice is seen, whatever its values are", () => {
  for (const twice of [
    '{"a":1,"a":"x"}',
    '{"a":"x","a":1}',
    '{"a":{},"a":"x"}',
    '{"a":{"b":"c"},"a":"x"}',
    '{"a":["b"],"c":"d","a":"x"}',
    '{"a":null,"a":"x","b":"y"}',
    '{"a":"x","\\u0061":"x"}',
    '{"__proto__":"x","__proto__":"x"}',
    '{"a\\\\":"x","a\\u005c":"y"}',
    '{"1":"x","1":"y"}',
  ]) {
    assert.throws(() => envelope.readAnswers(form(twice)), refused("bad-answer"), twice);
  }
  const lookalike = '{"a\\"":"\\\\","{\\"a\\":1}":"\\\\\\""}';
  assert.deepEqual([...envelope.readAnswers(form(lookalike))], [['a"', "\\"], ['{"a":1}', '\\"']]);
});

test("long answers are read, and hostile ones refused, without falling over", async () => {
  for (const part of ["x", "\n", '\\"', "\ud83d\ude00"]) {
    const value = part.repeat(MIB / part.length);
    const read = envelope.readAnswers(envelope.writeAnswers([["key", value]]));
    assert.equal(read.get("key"), value);
  }
  const many = Array.from({ length: 50_000 }, (_, at) => [`key ${at}`, "x"]);
  assert.equal(envelope.readAnswers(envelope.writeAnswers(many)).size, 50_000);
  for (const [start, part] of [["", "["], ['{"a":', "["], ["", '{"a":'], ["", '"'], ['{"a":"x"}', '"\\']]) {
    const hostile = form(start + part.repeat(MIB / part.length));
    const read = () => envelope.readAnswers(hostile);
    const took = await milliseconds(() => assert.throws(read, refused("bad-answer")));
    assert.ok(took < 1000, `${took} ms`);
  }
});

// --- envelopes

test("sealing twice never gives the same bytes", async () => {
  const request = await requestOf(KEY);
  const nonces = new Set();
  const encapsulated = new Set();
  for (let n = 0; n < 50; n += 1) {
    nonces.add(b64((await envelope.seal(KEY, new Payload(SECRET))).slice(1, 13)));
    encapsulated.add(b64((await envelope.sealAnswer(request, new Payload(SECRET))).slice(1, 33)));
  }
  assert.deepEqual([nonces.size, encapsulated.size], [50, 50]);
});

test("every altered byte is refused", async () => {
  const flip = (bytes, at) => bytes.map((byte, n) => (n === at ? byte ^ 1 : byte));
  const plain = await envelope.seal(KEY, new Payload(SECRET));
  const sealed = await envelope.sealAnswer(await requestOf(KEY), new Payload(SECRET));
  for (const [whole, open] of [[plain, envelope.unseal], [sealed, envelope.unsealAnswer]]) {
    assert.deepEqual((await open(KEY, whole)).content, SECRET);
    for (let at = 0; at < whole.length; at += 1) {
      await assert.rejects(open(KEY, flip(whole, at)), refused(at === 0 ? "unknown-type" : "damaged"));
    }
  }
});

test("a browser that lacks a primitive is not told that the envelope is damaged", async (t) => {
  const sealed = await envelope.sealAnswer(await requestOf(KEY), new Payload(SECRET));
  const unsupported = Object.assign(new Error("no such curve"), { name: "NotSupportedError" });
  const { importKey } = crypto.subtle;
  const curve = t.mock.method(crypto.subtle, "importKey", (...given) =>
    given[2] === "X25519" ? Promise.reject(unsupported) : importKey.apply(crypto.subtle, given),
  );
  await assert.rejects(envelope.unsealAnswer(KEY, sealed), unsupported);
  curve.mock.restore();
  t.mock.method(crypto.subtle, "decrypt", () => Promise.reject(unsupported));
  await assert.rejects(envelope.unsealAnswer(KEY, sealed), unsupported);
});

test("a secret of 1 MiB is sealed, written, read and unsealed quickly", async () => {
  const content = new Uint8Array(MIB);
  for (let at = 0; at < MIB; at += 65536) crypto.getRandomValues(content.subarray(at, at + 65536));
  const took = await milliseconds(async () => {
    const sent = b64(await envelope.seal(KEY, new Payload(content, "backup.tar")));
    const { content: read } = await envelope.unseal(KEY, unb64(sent));
    assert.equal(Buffer.compare(read, content), 0);
  });
  assert.ok(took < 2000, `${took} ms`);
});
