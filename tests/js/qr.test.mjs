// QR codes: the plain facts.  Module for module they are compared with another encoder in test_qr.py.

import assert from "node:assert/strict";
import { test } from "node:test";

import { encode, path } from "../../static/js/qr.js";

// Bytes that a version holds at level M (ISO/IEC 18004, table 7).
const CAPACITIES = [[1, 14], [2, 26], [6, 106], [9, 180], [10, 213], [26, 1059], [27, 1125], [32, 1538], [40, 2331]];
const LINK = "https://secrets.example.org/s#c2VjcmV0IGxpbmsga2V5IG9mIDMyIGJ5dGVzIQ";
const FINDER = ["1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111"];

const cut = (modules, top, left, size) =>
  modules.slice(top, top + size).map((row) => row.slice(left, left + size).join(""));

for (const [version, bytes] of CAPACITIES) {
  test(`version ${version} holds ${bytes} bytes and is ${17 + 4 * version} modules wide`, () => {
    const modules = encode("a".repeat(bytes));
    assert.equal(modules.length, 17 + 4 * version);
    for (const row of modules) {
      assert.equal(row.length, 17 + 4 * version);
      assert.match(row.join(""), /^[01]+$/);
    }
    if (version < 40) assert.equal(encode("a".repeat(bytes + 1)).length, 21 + 4 * version);
  });

  test(`version ${version} has its finders, its timing and the lone dark module`, () => {
    const modules = encode("a".repeat(bytes));
    const far = modules.length - 7;
    for (const [top, left] of [[0, 0], [0, far], [far, 0]]) assert.deepEqual(cut(modules, top, left, 7), FINDER);
    for (let i = 0; i < 8; i++) {
      const separators = [[7, i], [i, 7], [7, far - 1 + i], [i, far - 1], [far - 1, i], [far - 1 + i, 7]];
      for (const [row, column] of separators) assert.equal(modules[row][column], 0);
    }
    for (let i = 8; i < far - 1; i++) {
      assert.equal(modules[6][i], (i + 1) % 2);
      assert.equal(modules[i][6], (i + 1) % 2);
    }
    assert.equal(modules[far - 1][8], 1);
  });
}

test("text that no code holds is refused", () => {
  for (const bytes of [2332, 200_000]) assert.throws(() => encode("a".repeat(bytes)), RangeError);
});

test("text is counted in bytes of UTF-8", () => {
  assert.equal(encode("ä".repeat(7)).length, 21);
  assert.equal(encode("ä".repeat(8)).length, 25);
  assert.throws(() => encode("€".repeat(778)), RangeError);
});

test("a text has one code, whose mask is the best of the eight", () => {
  const codes = [0, 1, 2, 3, 4, 5, 6, 7].map((mask) => encode(LINK, [mask]).join("\n"));
  assert.equal(new Set(codes).size, 8);
  assert.ok(codes.includes(encode(LINK).join("\n")));
  assert.deepEqual(encode(LINK), encode(LINK));
});

test("the path fills the dark modules, each once, and leaves a quiet zone of four", () => {
  for (const text of ["", LINK, "a".repeat(500)]) {
    const modules = encode(text);
    const side = modules.length + 8;
    const filled = Array.from({ length: side }, () => Array(side).fill(0));
    const rest = path(modules).replace(/M(\d+) (\d+)h(\d+)v1h-(\d+)z/g, (_, x, y, width, back) => {
      assert.equal(width, back);
      for (let i = 0; i < width; i++) filled[y][+x + i] += 1;
      return "";
    });
    assert.equal(rest, "");
    const border = (rows) => [...Array(4).fill(Array(rows[0].length).fill(0)), ...rows];
    const expected = modules.map((row) => [0, 0, 0, 0, ...row, 0, 0, 0, 0]);
    assert.deepEqual(filled, border(border(expected).reverse()).reverse());
  }
});
