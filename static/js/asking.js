// A new request: the service gets the body; the pick-up link's key stays here.
import { answerToken, requestPublicKey } from "./answers.js";
import { b64, deriveHandles, newKey } from "./envelope.js";

// Resolves to that key, what the request link is made of, and the body of the create, without its options.
export async function newRequest() {
  const key = newKey();
  const { id, token } = await deriveHandles(key);
  const publicKey = await requestPublicKey(key);
  const body = { id: b64(id), token: b64(token), answer_token: b64(await answerToken({ id, publicKey })) };
  return { key, id, publicKey, body };
}
