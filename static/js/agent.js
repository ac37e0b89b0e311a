// What an agent does on a ticket: send a secret or ask for one, sealed here.  Loaded when it is wanted.
import { formatRequestLink } from "./answers.js";
import { call, isPassing, newIdempotencyKey } from "./api.js";
import { newRequest } from "./asking.js";
import { bindCopy, bindReveal } from "./beside.js";
import { compose } from "./compose.js";
import { $, busy, complain, say, setTime, word } from "./dom.js";
import { FormatError, b64, formatLink, writePayload } from "./envelope.js";
import { newPassword, newSecret } from "./generator.js";
import { openPanel } from "./panels.js";
import { forgetReply, loadTexts, noTexts, plainReply, showReply } from "./reply.js";
import { sealSecret } from "./sealing.js";

const main = document.querySelector("main");
const { desk, number, shared } = $("ticket").dataset;
const path = `/${desk}/${number}`;

// Make the page ready; `refresh` finds a link's reference.  Returns what to do when a form was opened.
export function start(refresh) {
  const secret = compose(Number(main.dataset.maxBytes));
  let unsent = null;  // what was sealed or made, and has not been taken yet
  let made = null;  // the link at hand: { kind, link, pickUp, until, password, id, ref }
  let uncopied = new Set();  // ids of what would be lost
  let generated = "";  // the last password that was made here: nobody knows it yet

  function opened(name) {
    if (name === "send" && shared !== undefined && !$("password").value) generate($("password"), newPassword);
    loadTexts(path);
  }

  function generate(field, make) {
    if (field.hidden) return;
    if (field === $("secret")) field.setRangeText(make());  // what was typed stays
    else {
      field.value = generated = make();
      field.type = "text";
      field.dispatchEvent(new Event("reveal"));
    }
    say(word("generated"));
  }

  const again = (id) => () => { complain(id, word("trying-again")); say(word("trying-again")); };

  const options = (kind) => ({
    expires_in: Number($(`${kind}-expires`).value),
    language: $(`${kind}-language`).value,
    label: `${desk}:${number}`,
  });

  // Made anew only if something was changed since: a repeat must be the very same.
  async function makeOnce(given, make) {
    if (unsent?.given !== given) unsent = { given, idempotencyKey: newIdempotencyKey(), ...await make() };
    return unsent;
  }

  async function send() {
    complain("problem", "");
    const payload = await secret.payload();
    if (!payload) return;
    const [password, more] = [$("password").value, options("send")];
    try {
      const given = b64(writePayload(payload)) + JSON.stringify([password, more]);
      const sealed = await makeOnce(given, () => sealSecret(payload, password));
      const body = { ...sealed.body, ...more };
      const created = await call("POST", "/secrets", { body, key: sealed.idempotencyKey, again: again("problem") });
      const link = formatLink(main.dataset.base, sealed.key);
      await showMade({ kind: "secret", link, password, until: created.expires_at, id: sealed.body.id }, more.language);
    } catch (error) {
      await explain("problem", error);
    }
  }

  async function ask() {
    complain("ask-problem", "");
    const more = { ...options("ask"), form: $("form").value, identity: $("identity").value };
    try {
      const asked = await makeOnce(JSON.stringify(more), newRequest);
      const body = { ...asked.body, ...more };
      const created = await call("POST", "/requests", { body, key: asked.idempotencyKey, again: again("ask-problem") });
      const link = formatRequestLink(main.dataset.base, asked.id, asked.publicKey);
      const pickUp = formatLink(main.dataset.base, asked.key);
      await showMade({ kind: "request", link, pickUp, until: created.expires_at, id: asked.body.id }, more.language);
    } catch (error) {
      await explain("ask-problem", error);
    }
  }

  async function explain(id, error) {
    if (error instanceof FormatError) return complain(id, word("bad-password"), $("password"));
    if (error.name === "NotSupportedError") return complain(id, word("unsupported"));
    if (error.type === undefined) throw error;
    const type = error.type === "forbidden" && await isSignedOut() ? "unauthorized" : error.type;
    const known = ["unauthorized", "forbidden", "rate-limited", "not-found"];
    const name = known.includes(type) ? type : isPassing(error) ? "unreachable" : "failed";
    return complain(id, word(type === "too-large" ? "service-too-large" : name));
  }

  const isSignedOut = () => call("GET", "/me", { patient: () => false }).then(() => false, ({ type }) => type === "unauthorized");

  // --- what was made

  async function showMade(found, language) {
    made = found;
    const isNews = made.password && made.password === generated;
    uncopied = new Set(["reply", ...(made.pickUp ? ["pick-up"] : []), ...(isNews ? ["password-text"] : [])]);
    wipeInput();
    $("reply-language").value = language;
    document.querySelector("[name=format]").checked = true;
    $("pick-up").textContent = made.pickUp ?? "";
    $("password-text").textContent = made.password ?? "";
    $("result-password").hidden = !made.password;
    for (const part of document.querySelectorAll("[data-kind]")) part.hidden = part.dataset.kind !== made.kind;
    for (const time of document.querySelectorAll("[data-until]")) setTime(time, made.until);
    for (const id of ["posted", "noted"]) if ($(id)) $(id).hidden = true;
    for (const id of ["posting", "note"]) if ($(id)) $(id).hidden = false;
    if ($("posting")) $("posting").open = false;
    await loadTexts(path);
    showReply(made);
    complainBeside(noTexts());
    $("result-heading").textContent = word("ready-plain");
    openPanel("result", $("result-heading"));
    await name();
  }

  // The link's short reference, from the ticket's list.
  async function name() {
    const mine = made;
    mine.ref ??= await refresh(mine.id, false);
    if (mine === made && mine.ref) $("result-heading").textContent = word("ready", { ref: mine.ref });
    return mine.ref;
  }

  function complainBeside(text) {
    $("result-problem").textContent = text;
    $("result-problem").hidden = !text;
  }

  // Have the server write into the ticket; `done` says so, and `saved` is what is safe there from then on.
  async function write(button, what, body, done, hide, saved) {
    complainBeside("");
    const mine = made;
    await busy(button, async () => {
      try {
        if (!await name()) throw Object.assign(new Error(), { type: "unreachable" });
        await call("POST", `/tickets${path}/links/${mine.ref}/${what}`, { body, patient: () => false });
        if (mine !== made) return;
        uncopied.delete(saved);
        $(done).hidden = false;
        hide.hidden = true;
        $(done).focus();
        say($(done).textContent);
      } catch (error) {
        const known = ["unauthorized", "ticket-closed", "desk-unavailable", "not-found"];
        const isUnclear = ["unreachable", "internal-error"].includes(error.type);
        complainBeside(word(known.includes(error.type) ? error.type : isUnclear ? "desk-unavailable" : "failed"));
      }
    });
  }

  const post = () => write($("post"), "reply", { text: plainReply(made) }, "posted", $("posting"), "reply");
  const note = () => write($("note"), "note", { link: made.pickUp }, "noted", $("note"), "pick-up");

  // --- nothing is lost unasked, and nothing stays

  function wipeInput() {
    secret.clear();
    $("password").value = "";
    $("password").type = "password";
    $("password").dispatchEvent(new Event("reveal"));
    unsent = null;
    generated = "";
  }

  function forget() {
    wipeInput();
    made = null;
    uncopied.clear();
    for (const id of ["pick-up", "password-text", "result-heading"]) $(id).textContent = "";
    forgetReply();
  }

  // Asks once where something would be lost; the second time it is meant.
  function back() {
    if (made && uncopied.size && $("result-problem").textContent !== word("uncopied")) {
      return complainBeside(word("uncopied"));
    }
    if (made) forget();
    return openPanel("start", $("start-send"));
  }

  const mayLose = () => uncopied.size || (!$("send").hidden && !secret.isEmpty());

  for (const button of document.querySelectorAll("[data-back]")) button.addEventListener("click", back);
  $("generate-secret").addEventListener("click", () => generate($("secret"), newSecret));
  $("generate").addEventListener("click", () => generate($("password"), newPassword));
  bindReveal(document);
  bindCopy(document, (id) => uncopied.delete(id));
  for (const [form, work] of [["send", send], ["ask", ask]]) {
    $(form).addEventListener("submit", (event) => {
      event.preventDefault();
      busy($(form).querySelector(".main"), async () => {
        secret.hold(true);
        await work();
        secret.hold(false);
      });
    });
  }
  for (const choice of [...document.querySelectorAll("[name=format]"), $("reply-language")]) {
    choice.addEventListener("change", () => made && showReply(made));
  }
  $("post")?.addEventListener("click", post);
  $("note")?.addEventListener("click", note);
  addEventListener("beforeunload", (event) => { if (mayLose()) event.preventDefault(); });
  addEventListener("pagehide", forget);
  for (const form of ["send", "ask"]) $(form).querySelector(".main").disabled = false;
  return { opened };
}
