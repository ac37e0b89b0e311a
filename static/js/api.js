// Calls to the service.  A lost or unclear answer is asked for again with the same Idempotency-Key.
import { b64 } from "./primitives.js";

const DELAYS = [1, 2, 4, 8];  // seconds before each repeat
const PATIENCE = 20_000;  // milliseconds without a byte
const SLOWEST = 8;  // bytes a millisecond, of what is sent
const REFUSED = ["store-unavailable", "desk-unavailable", "busy", "rate-limited"];  // nothing was done
const UNCLEAR = ["unreachable", "ledger-unavailable"];  // it may have been done

// What the service answered instead; `type` is one of its stable words, or `unreachable`.
export class Problem extends Error {
  constructor(type, body = {}, wait = 0) {
    super(type);
    this.type = type;
    this.endedAt = body.ended_at;
    this.triesLeft = body.tries_left;
    this.errors = body.errors ?? [];
    this.wait = wait;
  }
}

export const newIdempotencyKey = () => b64(crypto.getRandomValues(new Uint8Array(32)));

// `patient` says what is asked again, `again` hears of it before; `keepalive` outlives the page.
export async function call(method, path, { token, key, apiKey, body, keepalive, patient = isPassing, again } = {}) {
  if (apiKey && !/^[!-~]+$/.test(apiKey)) throw new Problem("unauthorized");  // no header could hold it
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
    if (!patient(answer) || delay > 10) throw answer;
    again?.(answer);
    await new Promise((resume) => setTimeout(resume, delay * 1000));
  }
}

export const isRefused = ({ type }) => REFUSED.includes(type);
export const isUnclear = ({ type }) => UNCLEAR.includes(type);
// Whether trying again may help.
export const isPassing = (problem) => isRefused(problem) || isUnclear(problem);

async function ask(url, request) {
  const patience = new AbortController();
  let timer;
  const wait = (more = 0) => {
    clearTimeout(timer);
    timer = setTimeout(() => patience.abort(), PATIENCE + more);
  };
  try {
    wait((request.body?.length ?? 0) / SLOWEST);
    const answer = await fetch(url, { ...request, signal: patience.signal });
    const body = JSON.parse(await read(answer, wait) || "{}");
    if (answer.ok) return Object(body) === body ? body : new Problem("unreachable");
    return new Problem(body.type ?? "unreachable", body, Number(answer.headers.get("Retry-After")) || 0);
  } catch {
    return new Problem("unreachable");  // no answer, half an answer, or a proxy's page
  } finally {
    clearTimeout(timer);
  }
}

// A slow line may take long, as long as something comes.
async function read(answer, wait) {
  const reader = answer.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let part; reader && !(part = await reader.read()).done; wait()) text += decoder.decode(part.value, { stream: true });
  return text;
}
