/** The site's time zone: what is shown is the site's day, wherever the browser is. */

import { Store } from "@/lib/store";

export const HOUR_MS = 3_600_000;
export const DAY_MS = 86_400_000;
export const zone = new Store(Intl.DateTimeFormat().resolvedOptions().timeZone);

const formats = new Map<string, Intl.DateTimeFormat>();
const offsets = new Map<string, number>();

function fieldsOf(at: number, name: string): Record<string, number> {
  let format = formats.get(name);
  if (!format) {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone: name, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric",
      hour: "numeric", minute: "numeric", second: "numeric",
    });
    formats.set(name, format);
  }
  return Object.fromEntries(format.formatToParts(at).map((part) => [part.type, Number(part.value)]));
}

/** How far local time is ahead of UTC at a moment, in ms. */
export function offsetMs(at: number, name = zone.get()): number {
  const quarter = Math.floor(at / (HOUR_MS / 4));
  const key = `${name}/${quarter}`;
  const known = offsets.get(key);
  if (known !== undefined) return known;
  const begin = quarter * (HOUR_MS / 4);
  const f = fieldsOf(begin, name);
  const local = Date.UTC(f.year ?? 0, (f.month ?? 1) - 1, f.day, f.hour, f.minute, f.second);
  if (offsets.size > 20_000) offsets.clear();
  offsets.set(key, local - begin);
  return local - begin;
}

/** Local wall time as if it were UTC; for charts, which know no zones. */
export function toWall(at: number, name = zone.get()): number {
  return at + offsetMs(at, name);
}

/** The moment of a wall time; in the hour that the clock skips, the moment after the change. */
export function fromWall(wall: number, name = zone.get()): number {
  const guess = wall - offsetMs(wall, name);
  return wall - offsetMs(guess, name);
}

export type Span = "day" | "week" | "month" | "year";

function wallStart(wall: number, span: Span): number {
  const d = new Date(wall);
  const [y, m, day] = [d.getUTCFullYear(), d.getUTCMonth(), d.getUTCDate()];
  if (span === "year") return Date.UTC(y, 0);
  if (span === "month") return Date.UTC(y, m);
  if (span === "week") return Date.UTC(y, m, day - ((d.getUTCDay() + 6) % 7));
  return Date.UTC(y, m, day);
}

function wallStep(wall: number, span: Span, steps: number): number {
  const d = new Date(wall);
  const [y, m, day] = [d.getUTCFullYear(), d.getUTCMonth(), d.getUTCDate()];
  if (span === "year") return Date.UTC(y + steps, 0);
  if (span === "month") return Date.UTC(y, m + steps);
  return Date.UTC(y, m, day + steps * (span === "week" ? 7 : 1));
}

/** Begin of the local day, ISO week, month or year that a moment lies in. */
export function startOf(at: number, span: Span, name = zone.get()): number {
  return fromWall(wallStart(toWall(at, name), span), name);
}

/** The same span some steps later (or earlier); `at` is a span's begin. */
export function step(at: number, span: Span, steps: number, name = zone.get()): number {
  return fromWall(wallStep(toWall(at, name), span, steps), name);
}
