// Generated passwords: their shape, and that none is likelier than another.

import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { test } from "node:test";

globalThis.crypto ??= webcrypto; // Node 18 has it under this name only
const { newPassword, newSecret } = await import("../../static/js/generator.js");

const SPOKEN = "abcdefghjkmnpqrstuvwxyz23456789";
const LOWER = "abcdefghijklmnopqrstuvwxyz";
const KINDS = { lower: LOWER, upper: LOWER.toUpperCase(), digit: "0123456789", symbol: "_" };
const ALL = Object.values(KINDS).join("");
const MANY = 10_000;

const many = (make) => Array.from({ length: MANY }, make);
const PASSWORDS = many(newPassword);
const SECRETS = many(newSecret);

const spell = (characters, bytes) => Array.from(bytes, (byte) => characters[byte % characters.length]).join("");

/** How often each of the characters is there. */
function tally(characters, texts) {
  const counts = new Map([...characters].map((character) => [character, 0]));
  for (const character of texts.join("")) {
    if (counts.has(character)) counts.set(character, counts.get(character) + 1);
  }
  return [...counts.values()];
}

/** Chi-square: how many standard deviations the counts are less equal than chance makes them on average. */
function bias(characters, texts) {
  const counts = tally(characters, texts);
  const expected = counts.reduce((sum, count) => sum + count) / counts.length;
  const found = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  const degrees = counts.length - 1;
  return (found - degrees) / Math.sqrt(2 * degrees);
}

// Chance alone passes it less than once in ten million runs.
const BIAS = 10;

/** Let these bytes be the random ones; more than these are a fault. */
function feed(t, bytes) {
  const left = [...bytes];
  t.mock.method(crypto, "getRandomValues", (array) => {
    assert.ok(array.length <= left.length, "more is drawn than there should be");
    array.set(left.splice(0, array.length));
    return array;
  });
  return left;
}

test("a password is four groups of five without 0, o, 1, l and i", () => {
  assert.equal(new Set(SPOKEN).size, 31);
  const group = `[${SPOKEN}]{5}`;
  const shape = new RegExp(`^${group}-${group}-${group}-${group}$`);
  for (const password of PASSWORDS) assert.match(password, shape);
});

test("a secret has 24 characters, at least one of every kind, and no other", () => {
  for (const secret of SECRETS) {
    assert.match(secret, /^[a-zA-Z0-9_]{24}$/);
    for (const kind of Object.values(KINDS)) {
      assert.ok([...kind].some((character) => secret.includes(character)), secret);
    }
  }
});

test("no two are the same", () => {
  assert.equal(new Set([...PASSWORDS, ...SECRETS]).size, 2 * MANY);
});

test("every character of a password is as likely as any other", () => {
  assert.equal(tally(SPOKEN, PASSWORDS).reduce((sum, count) => sum + count), 20 * MANY);
  assert.ok(bias(SPOKEN, PASSWORDS) < BIAS);
});

test("every character of a secret is as likely as any other of its kind", () => {
  for (const kind of ["lower", "upper", "digit"]) assert.ok(bias(KINDS[kind], SECRETS) < BIAS, kind);
});

test("the remainder of a byte would be seen to be biased", () => {
  const careless = (characters, length) => () =>
    spell(characters, crypto.getRandomValues(new Uint8Array(length)));
  assert.ok(bias(SPOKEN, many(careless(SPOKEN, 20))) > 2 * BIAS);
  assert.ok(bias(LOWER, many(careless(ALL, 24))) > 2 * BIAS);
});

test("bytes over the last full multiple are drawn anew", async (t) => {
  await t.test("248 to 255 for a password", (t) => {
    const good = [247, ...Array.from({ length: 19 }, (_, at) => at)];
    const left = feed(t, [248, ...good.slice(0, 7), 249, 250, 251, ...good.slice(7), 252, 253, 254, 255]);
    const plain = spell(SPOKEN, good);
    assert.equal(newPassword(), plain.match(/.{5}/g).join("-"));
    assert.deepEqual(left, [252, 253, 254, 255]);
  });
  await t.test("252 to 255 for a secret", (t) => {
    const good = [251, 0, 26, 52, ...Array.from({ length: 20 }, (_, at) => 12 * at)];
    const left = feed(t, [252, ...good.slice(0, 9), 253, 254, 255, ...good.slice(9)]);
    assert.equal(newSecret(), spell(ALL, good));
    assert.deepEqual(left, []);
  });
});

test("a secret that lacks a kind is drawn anew as a whole", async (t) => {
  const good = [5, 31, 57, 62, ...Array(20).fill(7)];
  for (const [kind, characters] of Object.entries(KINDS)) {
    await t.test(kind, (t) => {
      const others = [...ALL].filter((character) => !characters.includes(character));
      const lacking = Array.from({ length: 24 }, (_, at) => ALL.indexOf(others[(5 * at) % others.length]));
      const rest = Object.entries(KINDS).filter(([other]) => other !== kind);
      for (const [other, has] of rest) {
        assert.ok([...spell(ALL, lacking)].some((character) => has.includes(character)), other);
      }
      const left = feed(t, [...lacking, ...good]);
      assert.equal(newSecret(), spell(ALL, good));
      assert.deepEqual(left, []);
    });
  }
});

test("nothing but the system's random source is asked", (t) => {
  const careless = t.mock.method(Math, "random");
  newPassword();
  newSecret();
  assert.equal(careless.mock.callCount(), 0);
});
