// Times and sizes in the reader's language and time zone.
import { language, localeOf } from "./dom.js";

export const moment = (date) => (
  new Intl.DateTimeFormat(localeOf(language), { dateStyle: "long", timeStyle: "short" }).format(new Date(date))
);

// For a reader elsewhere, in their language: with the zone's name.
export const momentWithZone = (date, of) => new Intl.DateTimeFormat(localeOf(of), {
  day: "numeric", month: "long", year: "numeric", hour: "numeric", minute: "2-digit", timeZoneName: "short",
}).format(new Date(date));

export function setTime(element, date) {
  element.dateTime = new Date(date).toISOString();
  element.textContent = moment(date);
}

export function size(bytes) {
  const [number, unit] = bytes < 1024 ? [bytes, "B"] : bytes < 2 ** 20 ? [bytes / 1024, "KiB"] : [bytes / 2 ** 20, "MiB"];
  return `${new Intl.NumberFormat(localeOf(language), { maximumFractionDigits: 1 }).format(number)} ${unit}`;
}
