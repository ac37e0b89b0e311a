// A new secret, sealed here: the service gets the body, and the key stays.
import { b64, deriveHandles, newKey, proof, seal, stretchPassword } from "./envelope.js";

// Resolves to the link's key and the body of the create, without its options.
export async function sealSecret(payload, password) {
  const key = newKey();
  const { id, token } = await deriveHandles(key);
  const stretched = await stretchPassword(key, password);
  const envelope = await seal(key, payload, { stretched });
  const body = { id: b64(id), token: b64(token), envelope: b64(envelope) };
  if (stretched) body.proof = b64(await proof(stretched));
  return { key, id, body };
}
