// QR codes (ISO/IEC 18004, model 2) for links: byte mode, error correction level M.

// Versions 1 to 40: how many blocks, and the check bytes of each (28 after the last here).
const BLOCKS = [
  1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16,
  17, 17, 18, 20, 21, 23, 25, 26, 28, 29, 31, 33, 35, 37, 38, 40, 43, 45, 47, 49,
];
const CHECKS = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26, 26];

const FREE = 2; // neither light (0) nor dark (1) yet
const FILLER = "1110110000010001"; // to the last byte

/** The rows of the smallest code for the text (in UTF-8), 1 for dark; RangeError if none can hold it. */
export function encode(text, masks = [0, 1, 2, 3, 4, 5, 6, 7]) {
  const bytes = binary(new TextEncoder().encode(text), 8);
  for (let version = 1; version <= 40; version++) {
    const frame = drawFrame(version);
    const cells = freeCells(frame);
    const blocks = BLOCKS[version - 1];
    const checks = CHECKS[version - 1] ?? 28;
    const room = 8 * ((cells.length >> 3) - blocks * checks);
    const message = `0100${binary([bytes.length / 8], version < 10 ? 8 : 16)}${bytes}0000`;
    if (message.length > room) continue;
    const data = message.padEnd(room, FILLER).match(/.{8}/g).map((byte) => parseInt(byte, 2));
    const stream = binary(addChecks(data, blocks, checks), 8);
    const drawn = masks.map((mask) => drawData(frame, cells, stream, mask));
    const points = drawn.map(penalty);
    const best = points.indexOf(Math.min(...points));
    return drawNotes(drawn[best], bch(masks[best], 10, 0x537) ^ 0x5412, bch(version, 12, 0x1f25));
  }
  throw new RangeError("Too long for a QR code.");
}

/** The `d` of one svg path in a quiet zone of 4: viewBox `0 0 n n`, n = `modules.length + 8`, light ground. */
export function path(modules) {
  return modules.flatMap((row, y) => [...row.join("").matchAll(/1+/g)].map(({ 0: run, index: x }) =>
    `M${x + 4} ${y + 4}h${run.length}v1h-${run.length}z`)).join("");
}

function binary(values, digits) {
  return Array.from(values, (value) => value.toString(2).padStart(digits, "0")).join("");
}

function drawFrame(version) {
  const size = 17 + 4 * version;
  const rows = Array.from({ length: size }, () => new Uint8Array(size).fill(FREE));
  for (const [y, x] of [[3, 3], [3, size - 4], [size - 4, 3]]) drawRings(rows, y, x, "11010");
  const step = version === 32 ? 26 : 2 * Math.ceil((size - 13) / (Math.floor(version / 7) + 1) / 2);
  const centres = [6];
  for (let at = size - 7; version > 1 && at > 8; at -= step) centres.push(at);
  for (const y of centres) for (const x of centres) if (rows[y][x] === FREE) drawRings(rows, y, x, "101");
  for (let i = 8; i < size - 8; i++) rows[6][i] = rows[i][6] = 1 - i % 2;
  return drawNotes(rows, 0, 0);
}

// `rings` are from the centre outwards.
function drawRings(rows, y, x, rings) {
  for (let dy = -4; dy <= 4; dy++) {
    const row = rows[y + dy] ?? [];
    for (let dx = -4; dx <= 4; dx++) row[x + dx] = rings[Math.max(Math.abs(dy), Math.abs(dx))] ?? row[x + dx];
  }
}

// Format, version and the lone dark module: all light (0) until the mask is chosen.
function drawNotes(rows, format, version) {
  const end = rows.length - 1;
  for (let i = 0; i < 8; i++) {
    const near = i < 6 ? i : i + 1;
    rows[near][8] = rows[8][end - i] = format >> i & 1;
    rows[8][near] = rows[end - i][8] = format >> (14 - i) & 1;
  }
  rows[end - 7][8] = format && 1;
  for (let i = 0; i < 18 && end >= 44; i++) {
    const near = Math.floor(i / 3);
    const far = end - 10 + i % 3;
    rows[near][far] = rows[far][near] = version >> i & 1;
  }
  return rows;
}

// As the data runs: in pairs of columns from the right, up and down in turn.
function freeCells(rows) {
  const cells = [];
  const order = [...rows.keys()];
  for (let right = rows.length - 1; right > 0; right -= right === 8 ? 3 : 2) {
    for (const y of order.reverse()) {
      for (const x of [right, right - 1]) if (rows[y][x] === FREE) cells.push([y, x]);
    }
  }
  return cells;
}

// Reed-Solomon; what `rest` does not hold counts as 0.
function addChecks(data, blocks, checks) {
  let generator = [];
  for (let root = 1; generator.length < checks; root = times(root, 2)) {
    generator = [...generator, 0].map((factor, i) => factor ^ times(root, i ? generator[i - 1] : 1));
  }
  const parts = [];
  for (let left = blocks; left; left--) parts.push(data.splice(0, data.length / left));
  const rests = parts.map((part) => part.reduce((rest, byte) =>
    generator.map((factor, i) => rest[i + 1] ^ times(factor, byte ^ rest[0])), []));
  return [...interleave(parts), ...interleave(rests)];
}

const interleave = (parts) => parts.at(-1).flatMap((_, i) => parts.flatMap((part) => part.slice(i, i + 1)));

const bch = (value, degree, modulus) => value << degree | times(value, 1 << degree, modulus);

// Polynomials over GF(2), a bit for each power.
function times(a, b, modulus = 0x11d) {
  let product = 0;
  for (; b; b >>= 1) {
    if (b & 1) product ^= a;
    a = Math.min(a << 1, a << 1 ^ modulus);
  }
  return product;
}

function drawData(frame, cells, stream, mask) {
  const rows = frame.map((row) => row.slice());
  cells.forEach(([y, x], i) => {
    const [sum, two, three] = [y + x, y * x % 2, y * x % 3];
    const flips = [
      sum % 2, y % 2, x % 3, sum % 3, ((y >> 1) + Math.floor(x / 3)) % 2,
      two + three, (two + three) % 2, (sum + three) % 2,
    ];
    rows[y][x] = stream[i] ^ (flips[mask] === 0);
  });
  return rows;
}

// For what looks like a finder (the quiet zone counts), long runs, 2 x 2 boxes, too much dark or light.
function penalty(rows) {
  const columns = rows.map((_, x) => rows.map((row) => row[x]));
  const lines = ` ${[...rows, ...columns].map((line) => line.join("")).join(" ")} `;
  let points = 40 * lines.match(/( 0*|0000)1011101|1011101(?=0000|0* )/g).length;
  for (const run of lines.match(/0{5,}|1{5,}/g)) points += run.length - 2;
  const pairs = rows.slice(1).map((row, y) => row.map((module, x) => module + rows[y][x]).join(""));
  points += 3 * pairs.join(" ").match(/(?=00|22)/g).length;
  const dark = lines.split("1").length - 1;
  return points + 10 * Math.floor(Math.abs(10 * dark / rows.length ** 2 - 10));
}
