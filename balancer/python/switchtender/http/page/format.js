// How numbers, times and names are written. Pure: the same in, the same out, but for the browser's time zone.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat("en", { month: "short", day: "numeric" });

/** What stands where nothing is known. */
export const NONE = "–";

/** A count: 1,234. */
export const count = (value) => (value === null || value === undefined ? NONE : whole.format(value));

/** A count that may be a fraction: sessions as estimated, a rate a second. Tenths below 100. */
export const amount = (value) =>
  value === null || value === undefined ? NONE : (Math.abs(value) < 100 ? tenths : whole).format(value);

/** A part of one in percent; 100 % is said only of the whole. */
export function percent(part) {
  if (part === null || part === undefined) return NONE;
  return `${part < 1 ? Math.min(99, Math.round(part * 100)) : Math.round(part * 100)} %`;
}

/** Seconds since something, to be read at a glance: 0.4 s, 12 s, 5 min, 2 h 5 min, 3 d 4 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 10) return `${tenths.format(Math.max(0, seconds))} s`;
  const [s, m, h] = [Math.floor(seconds), Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  if (m < 1) return `${s} s`;
  if (h < 1) return `${m} min`;
  if (h < 24) return m % 60 ? `${h} h ${m % 60} min` : `${h} h`;
  return h % 24 ? `${whole.format(Math.floor(h / 24))} d ${h % 24} h` : `${whole.format(h / 24)} d`;
}

/** A round trip in milliseconds. */
export const milliseconds = (seconds) => (seconds === null ? NONE : `${tenths.format(seconds * 1000)} ms`);

/** A moment (seconds of the epoch) by the clock here; with its day where that is not today. */
export function moment(seconds, now = Date.now() / 1000) {
  const date = new Date(seconds * 1000);
  const today = new Date(now * 1000).toDateString() === date.toDateString();
  return today ? clock.format(date) : `${day.format(date)} ${clock.format(date)}`;
}

/** A moment for machines, as the `datetime` of a time element. */
export const isoMoment = (seconds) => new Date(seconds * 1000).toISOString();

/** "1 node", "2 nodes". */
export const many = (number, one, several = `${one}s`) => `${count(number)} ${number === 1 ? one : several}`;

/** A group's name as everything else calls it. */
export const groupKey = (item) => `${item.namespace}/${item.group}`;

/** Totals by cause, the largest first: "Full 12, Timeout 3". */
export function causes(totals) {
  const named = Object.entries(totals ?? {}).filter(([, total]) => total > 0);
  named.sort(([, one], [, other]) => other - one);
  return named.map(([cause, total]) => `${cause} ${count(total)}`).join(", ");
}
