// The JavaScript side of tests/js/cross.py: one JSON line in, one out.

import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";

import { OPERATIONS } from "./vectors.mjs";

globalThis.crypto ??= webcrypto; // Node 18 has it under this name only
const envelope = { ...await import("../../static/js/envelope.js"), ...await import("../../static/js/answers.js") };
const { b64, unb64 } = envelope;

const described = ({ content, name, type }) => ({ content: b64(content), name, type });

async function answer({ kind, key: text, password, stretched: given, payload, sealed, site, link, asked }) {
  const key = unb64(text, 32);
  const { id, token } = await envelope.deriveHandles(key);
  const publicKey = await envelope.requestPublicKey(key);
  const request = { id, publicKey };
  const stretched = password ? await envelope.stretchPassword(key, password) : given && unb64(given, 32);
  const content = new envelope.Payload(unb64(payload.content), payload.name, payload.type);
  const opened = kind === 2
    ? await envelope.unsealAnswer(key, unb64(sealed))
    : await envelope.unseal(key, unb64(sealed), { stretched });
  const ours = kind === 2
    ? await envelope.sealAnswer(request, content)
    : await envelope.seal(key, content, { stretched });
  const form = payload.type === "application/json" && payload.name === null ? envelope.readAnswers(content) : null;
  return {
    handles: [b64(id), b64(token)],
    request: [b64(publicKey), b64(await envelope.answerToken(request))],
    links: [envelope.formatLink(site, key), envelope.formatRequestLink(site, id, publicKey)],
    read: b64(envelope.readLink(link)),
    password: stretched && [b64(stretched), b64(await envelope.proof(stretched))],
    opened: described(opened),
    text: opened.text(),
    padded: b64(envelope.writePayload(content)),
    form: form && [...form],
    rewritten: form && b64(envelope.writeAnswers(form).content),
    type: envelope.checkEnvelope(unb64(sealed), { answer: kind === 2, password: kind === 3 }),
    judged: await Promise.all(asked.map(judge)),
    envelope: b64(ours),
  };
}

async function judge(question) {
  try {
    return await OPERATIONS[question.op](envelope, question);
  } catch (error) {
    if (error instanceof envelope.FormatError) return { refused: error.kind };
    throw error;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
