// Runs the vectors of tests/vectors on an envelope module, in node and in a real browser's page; it depends on
// neither.  docs/format.md, "Test vectors", explains the fields.

const KEY = Uint8Array.from({ length: 32 }, (_, at) => at);

/** How many cases each group must have: a loop over nothing passes as well. */
export const COUNTS = { envelopes: 12, answers: 4, hpke: 3, accepted: 41, refusals: 304 };

/** Returns every case of the three parsed files as {group, name, check}; `check` rejects where it fails. */
export function cases(envelope, { v1, own, refusals }) {
  const all = { envelopes: v1.envelopes, answers: v1.answers, ...own, refusals: refusals.refusals };
  const checks = {
    envelopes: checkSecret,
    answers: checkAnswer,
    hpke: checkAnswer,
    accepted: checkAccepted,
    refusals: checkRefused,
  };
  return Object.entries(checks).flatMap(([group, check]) =>
    all[group].map((vector, number) => ({
      group,
      name: vector.name ?? `${group}-${number}`,
      check: () => check(envelope, vector),
    })),
  );
}

/** Runs them all; resolves to {counts, failures}, how many of each group held and what failed. */
export async function runVectors(envelope, vectors) {
  const counts = Object.fromEntries(Object.keys(COUNTS).map((group) => [group, 0]));
  const failures = [];
  for (const { group, name, check } of cases(envelope, vectors)) {
    try {
      await check();
      counts[group] += 1;
    } catch (error) {
      failures.push(`${group}: ${name}: ${error}\n${error.stack}`);
    }
  }
  return { counts, failures };
}

function same(found, expected, what) {
  const [got, due] = [found, expected].map((value) => String(JSON.stringify(value)));
  if (got !== due) throw new Error(`${what}: ${got.slice(0, 300)} instead of ${due.slice(0, 300)}`);
}

// Fields in the order of the format, whatever the order in the file.
const ordered = ({ name = null, type = null }) => ({ name, type });

function payloadOf({ Payload, unb64 }, { header, content }) {
  const { name, type } = ordered(header);
  return new Payload(unb64(content), name, type);
}

function samePayload({ b64 }, found, vector) {
  same([b64(found.content), ordered(found)], [vector.content, ordered(vector.header)], "payload");
}

async function checkSecret(envelope, vector) {
  const { b64, unb64 } = envelope;
  const [key, sealed] = [unb64(vector.key, 32), unb64(vector.envelope)];
  const { id, token } = await envelope.deriveHandles(key);
  same([b64(id), b64(token)], [vector.id, vector.token], "handles");
  const stretched = await envelope.stretchPassword(key, vector.password);
  same(stretched && b64(await envelope.proof(stretched)), vector.proof, "proof");
  const options = { stretched, nonce: unb64(vector.nonce, 12) };
  same(b64(await envelope.seal(key, payloadOf(envelope, vector), options)), vector.envelope, "envelope");
  samePayload(envelope, await envelope.unseal(key, sealed, { stretched }), vector);
  const due = { answer: false, password: stretched !== null };
  same(envelope.checkEnvelope(sealed, due), stretched ? 3 : 1, "type");
}

async function checkAnswer(envelope, vector) {
  const { b64, unb64 } = envelope;
  const [key, sealed] = [unb64(vector.key, 32), unb64(vector.envelope)];
  const { id, token } = await envelope.deriveHandles(key);
  if (vector.token) same([b64(id), b64(token)], [vector.id, vector.token], "handles"); // not in own.json
  const link = `https://secrets.example/r#${vector.request}`;
  const request = envelope.readRequestLink(link);
  const publicKey = await envelope.requestPublicKey(key);
  same([b64(request.id), b64(request.publicKey)], [b64(id), b64(publicKey)], "request");
  same(envelope.formatRequestLink("https://secrets.example/", id, publicKey), link, "request link");
  same(b64(await envelope.answerToken(request)), vector.answer_token, "answer token");
  same(envelope.checkEnvelope(sealed, { answer: true, password: false }), 2, "type");
  samePayload(envelope, await envelope.unsealAnswer(key, sealed), vector);
  const ephemeral = vector.ephemeral && unb64(vector.ephemeral, 32);
  const again = await envelope.sealAnswer(request, payloadOf(envelope, vector), { ephemeral });
  if (ephemeral) same(b64(again), vector.envelope, "envelope");
  samePayload(envelope, await envelope.unsealAnswer(key, again), vector);
}

/** What an `op` of the vectors does; bytes come out as base64url. */
export const OPERATIONS = {
  link: ({ b64, readLink }, { text }) => ({ key: b64(readLink(text)) }),
  "request-link": ({ b64, readRequestLink }, { text }) => {
    const { id, publicKey } = readRequestLink(text);
    return { id: b64(id), public_key: b64(publicKey) };
  },
  b64: ({ unb64 }, { text, length }) => ({ length: unb64(text, length).length }),
  password: async ({ b64, unb64, stretchPassword, proof }, { key, password }) => {
    const stretched = await stretchPassword(key ? unb64(key) : KEY, password);
    return { stretched: b64(stretched), proof: b64(await proof(stretched)) };
  },
  check: ({ unb64, checkEnvelope }, { envelope, answer, password }) => ({
    type: checkEnvelope(unb64(envelope), { answer, password }),
  }),
  unseal: ({ unb64, unseal }, { key, stretched, envelope }) =>
    unseal(unb64(key), unb64(envelope), { stretched: stretched && unb64(stretched) }),
  "unseal-answer": ({ unb64, unsealAnswer }, { key, envelope }) => unsealAnswer(unb64(key), unb64(envelope)),
  payload: ({ b64, unb64, readPayload }, { payload }) => {
    const read = readPayload(unb64(payload));
    return { header: ordered(read), content: b64(read.content) };
  },
  write: (envelope, vector) => ({ payload: envelope.b64(envelope.writePayload(payloadOf(envelope, vector))) }),
  answers: (envelope, vector) => ({ answers: [...envelope.readAnswers(payloadOf(envelope, vector))] }),
  "write-answers": ({ b64, writeAnswers }, { answers }) => ({ content: b64(writeAnswers(answers).content) }),
  limit: ({ maxEnvelopeBytes }, { content_bytes, answer }) => ({
    envelope_bytes: maxEnvelopeBytes(content_bytes, { answer }),
  }),
};

async function checkAccepted(envelope, vector) {
  const found = await OPERATIONS[vector.op](envelope, vector);
  const expected = vector.header ? { ...vector, header: ordered(vector.header) } : vector;
  for (const [field, value] of Object.entries(found)) same(value, expected[field], field);
}

async function checkRefused(envelope, vector) {
  let found;
  try {
    found = await OPERATIONS[vector.op](envelope, vector);
  } catch (error) {
    if (!(error instanceof envelope.FormatError)) throw error;
    same([error.kind, error.message], [vector.error, vector.error], "refusal");
    // What could carry the input along: a cause, or any property of its own but these.
    const own = Reflect.ownKeys(error).filter((key) => !ENGINES_OWN.has(key));
    same(own.sort(), ["kind", "message"], "what the refusal carries");
    return;
  }
  throw new Error(`not refused: ${JSON.stringify(found).slice(0, 300)}`);
}

// Where an error was made; Firefox keeps that as properties.
const ENGINES_OWN = new Set(["stack", "fileName", "lineNumber", "columnNumber"]);
