// How a secret stands, followed while its sender looks on; and the sender's two buttons.
import { call } from "./api.js";
import { $, busy, language, say, word } from "./dom.js";
import { b64 } from "./envelope.js";
import { setTime } from "./when.js";

const ENDED = ["opened", "revoked", "expired"];

// Follow the secret `id` with its receipt token until it has ended; `first` is a state already known.
export function follow(id, token, first) {
  const path = `/secrets/${b64(id)}`;
  const began = Date.now();
  let last = null;
  let timer;

  function tell(state) {
    const news = last && state.state !== last.state;
    last = state;
    for (const line of $("status").querySelectorAll("[data-state]")) {
      line.hidden = line.dataset.state !== state.state;
      const time = line.querySelector("time");
      if (time && state.ended_at) setTime(time, state.ended_at);
      if (news && !line.hidden) say(line.textContent);
    }
    $("status").dataset.now = state.state;
    $("status-trouble").hidden = true;
    $("reported").hidden = !state.reported_at;
    if (state.reported_at) setTime($("reported").querySelector("time"), state.reported_at);
    $("unlock").hidden = state.state !== "locked";
    $("revoking").hidden = ENDED.includes(state.state);
    $("tries").hidden = state.tries_left === undefined || state.state === "locked";
    $("tries").textContent = word("tries", { count: state.tries_left });
  }

  async function ask() {
    clearTimeout(timer);
    if (!document.hidden) {
      await call("GET", path, { token, patient: false }).then(tell, () => { $("status-trouble").hidden = false; });
    }
    // An opened one is asked about too: its reader may yet say that it was somebody else.
    if (!["revoked", "expired"].includes(last?.state)) timer = setTimeout(ask, pause(Date.now() - began));
  }

  async function act(button, what) {
    await busy(button, async () => {
      try {
        tell(await call("POST", `${path}/${what}`, { token }));
      } catch {
        $("status-trouble").hidden = false;
        await ask();  // it may have ended meanwhile: then that is what is told
      }
    });
  }

  $("unlock").addEventListener("click", () => act($("unlock"), "unlock"));
  $("revoke").addEventListener("click", () => act($("revoke"), "revoke"));
  document.addEventListener("visibilitychange", ask);
  if (first) tell(first);
  timer = setTimeout(ask, pause(0));
}

// Milliseconds to the next question: often at first, when somebody waits for it.
const pause = (age) => (age < 120_000 ? 3000 : age < 1_200_000 ? 15_000 : 60_000);
