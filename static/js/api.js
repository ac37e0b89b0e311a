// Calls to the service.  A lost or unclear answer is asked for again with the same Idempotency-Key.
import { b64 } from "./envelope.js";

const DELAYS = [1, 2, 4, 8];  // seconds before each repeat
const PATIENCE = 20_000;  // milliseconds for one call
const AGAIN = new Set(["store-unavailable", "ledger-unavailable", "busy", "rate-limited"]);

// What the service answered instead; `type` is one of its stable words, or `unreachable`.
export class Problem extends Error {
  constructor(type, body = {}, wait = 0) {
    super(type);
    this.type = type;
    this.endedAt = body.ended_at;
    this.triesLeft = body.tries_left;
    this.field = body.errors?.[0]?.field;
    this.wait = wait;
  }
}

export const newIdempotencyKey = () => b64(crypto.getRandomValues(new Uint8Array(32)));

// `patient: false` asks once; `again` hears of every repeat to come; `keepalive` outlives the page.
export async function call(method, path, { token, key, apiKey, body, keepalive, patient = true, again } = {}) {
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${b64(token)}`;
  if (key) headers["Idempotency-Key"] = key;
  if (apiKey) headers["X-API-Key"] = apiKey;
  if (body) headers["Content-Type"] = "application/json";
  const request = { method, headers, body: body && JSON.stringify(body), cache: "no-store", keepalive };
  for (let attempt = 0; ; attempt++) {
    const answer = await ask(`/api/v1${path}`, request);
    if (!(answer instanceof Problem)) return answer;
    const delay = Math.max(DELAYS[attempt] ?? Infinity, answer.wait);
    if (!patient || !isPassing(answer) || delay > 10) throw answer;
    again?.();
    await new Promise((resume) => setTimeout(resume, delay * 1000));
  }
}

// Whether trying again may help.
export const isPassing = (problem) => problem.type === "unreachable" || AGAIN.has(problem.type);

async function ask(url, request) {
  let answer, body;
  try {
    answer = await fetch(url, { ...request, signal: AbortSignal.timeout?.(PATIENCE) });
    body = answer.status === 204 ? {} : await answer.json();
  } catch {
    return new Problem("unreachable");  // no answer, half an answer, or a proxy's page
  }
  if (answer.ok) return body;
  return new Problem(body.type ?? "unreachable", body, Number(answer.headers.get("Retry-After")) || 0);
}
