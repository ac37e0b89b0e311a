// Times that the server wrote in UTC, in the reader's own zone and words.
import { setTime } from "./dom.js";

export function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) setTime(time, time.dateTime);
}
