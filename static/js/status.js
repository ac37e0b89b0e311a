// How a secret stands, followed while its sender looks on; and the sender's two buttons.
import { call } from "./api.js";
import { $, busy, say, setTime, word } from "./dom.js";
import { b64 } from "./envelope.js";

const ENDED = ["opened", "revoked", "expired"];

// Follow the secret `id` with its receipt token until it has ended; `first` is a state already known.
export function follow(id, token, first) {
  const path = `/secrets/${b64(id)}`;
  const began = Date.now();
  let last = null;
  let acts = 0;  // what was asked before an act says nothing about after it
  let timer;

  function tell(state) {
    const now = state.ended_by === "operator" ? "ended-by-operator" : state.state;
    const news = last && state.state !== last.state;
    last = state;
    if (news) $("act-failed").hidden = true;
    for (const line of $("status").querySelectorAll("[data-state]")) {
      line.hidden = line.dataset.state !== now;
      const time = line.querySelector("time");
      if (time && state.ended_at) setTime(time, state.ended_at);
      if (news && !line.hidden) say(line.textContent);
    }
    $("status").dataset.now = state.state;
    $("reported").hidden = !state.reported_at;
    if (state.reported_at) setTime($("reported").querySelector("time"), state.reported_at);
    $("unlock").hidden = state.state !== "locked";
    $("revoking").hidden = ENDED.includes(state.state);
    $("tries").hidden = state.tries_left === undefined || state.state === "locked";
    $("tries").textContent = word("tries", { count: state.tries_left });
  }

  const isOver = () => ["revoked", "expired"].includes(last.state);

  async function ask() {
    clearTimeout(timer);
    if (!document.hidden) {
      const before = acts;
      const state = await call("GET", path, { token, patient: () => false }).catch(() => null);
      if (state && before === acts) tell(state);
      $("status-trouble").hidden = Boolean(state) || isOver();
    }
    // An opened one is asked about too: its reader may yet say that it was somebody else.
    if (!isOver()) timer = setTimeout(ask, pause(Date.now() - began));
  }

  async function act(button, what) {
    await busy(button, async () => {
      $("act-failed").hidden = true;
      const state = await call("POST", `${path}/${what}`, { token }).catch(() => null);
      acts++;
      if (state) tell(state);
      else {
        await ask();  // done all the same, or ended: then the button is gone
        $("act-failed").hidden = Boolean(button.closest("[hidden]"));
      }
      $("status-heading").focus();
    });
  }

  $("unlock").addEventListener("click", () => act($("unlock"), "unlock"));
  $("revoke").addEventListener("click", () => act($("revoke"), "revoke"));
  document.addEventListener("visibilitychange", ask);
  tell(first);
  timer = setTimeout(ask, pause(0));
}

// Milliseconds to the next question: often at first, when somebody waits for it.
const pause = (age) => (age < 120_000 ? 3000 : age < 1_200_000 ? 15_000 : 60_000);
