/** Numbers, units and times as people read them; null is a dash, never a zero. */

import { locale, t } from "@/i18n";
import { zone } from "@/lib/zone";

export const NONE = "–";
const numbers = new Map<number, Intl.NumberFormat>();

export function number(value: number | null | undefined, digits = 0): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  let format = numbers.get(digits);
  if (!format) {
    format = new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
    numbers.set(digits, format);
  }
  const shown = Number(value.toFixed(digits)) === 0 ? 0 : value; // never a minus before a zero
  return format.format(shown).replace("-", "−");
}

export interface Quantity { value: string; unit: string }

export function power(watts: number | null | undefined): Quantity {
  if (watts === null || watts === undefined) return { value: NONE, unit: "W" };
  if (Math.abs(watts) < 1000) return { value: number(watts), unit: "W" };
  return { value: number(watts / 1000, Math.abs(watts) < 10_000 ? 2 : 1), unit: "kW" };
}

export function powerText(watts: number | null | undefined): string {
  const { value, unit } = power(watts);
  return value === NONE ? NONE : `${value} ${unit}`;
}

/** Power on an axis: no more digits than the number has. */
export function axisPower(watts: number): string {
  if (Math.abs(watts) < 1000) return `${number(watts)} W`;
  const kw = watts / 1000;
  return `${number(kw, Number.isInteger(kw) ? 0 : Number.isInteger(kw * 10) ? 1 : 2)} kW`;
}

export function kwh(value: number | null | undefined): string {
  return number(value, value !== null && value !== undefined && Math.abs(value) >= 100 ? 0 : Math.abs(value ?? 0) >= 10 ? 1 : 2);
}

export function percent(share: number | null | undefined): string {
  return share === null || share === undefined ? NONE : `${number(share * 100)} %`;
}

export function money(value: number | null | undefined, currency: string): string {
  if (value === null || value === undefined) return NONE;
  try {
    return new Intl.NumberFormat(locale, { style: "currency", currency }).format(value);
  } catch {
    return `${number(value, 2)} ${currency}`;
  }
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${number(size, unit > 1 && size < 100 ? 1 : 0)} ${units[unit] ?? ""}`;
}

/** `90 s`, `12 min`, `3 h`, `5 days`: one unit is enough. */
export function duration(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 90) return t("time.s", { n: s });
  if (s < 90 * 60) return t("time.min", { n: Math.round(s / 60) });
  if (s < 36 * 3600) return t("time.h", { n: Math.round(s / 3600) });
  return t("time.days", { n: Math.round(s / 86_400) });
}

type Style = "time" | "seconds" | "day" | "long" | "month" | "year" | "moment" | "date";
const STYLES: Record<Style, Intl.DateTimeFormatOptions> = {
  time: { hour: "2-digit", minute: "2-digit" },
  seconds: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  day: { weekday: "short", day: "numeric", month: "short" },
  long: { weekday: "long", day: "numeric", month: "long", year: "numeric" },
  month: { month: "long", year: "numeric" },
  year: { year: "numeric" },
  date: { day: "numeric", month: "short", year: "numeric" },
  moment: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
};
const dates = new Map<string, Intl.DateTimeFormat>();

export function when(at: number | null | undefined, style: Style = "moment"): string {
  if (at === null || at === undefined) return NONE;
  const key = `${style}/${zone.get()}`;
  let format = dates.get(key);
  if (!format) {
    const hours = STYLES[style].hour ? { hourCycle: "h23" as const } : {};
    format = new Intl.DateTimeFormat(locale, { ...STYLES[style], ...hours, timeZone: zone.get() });
    dates.set(key, format);
  }
  return format.format(at);
}

/** The time of today, else with its day, and with the year where it is another. */
export function moment(at: number | null | undefined, nowMs: number): string {
  if (at === null || at === undefined) return NONE;
  if (when(at, "date") === when(nowMs, "date")) return when(at, "time");
  if (when(at, "year") === when(nowMs, "year")) return when(at, "moment");
  return `${when(at, "date")}, ${when(at, "time")}`;
}

export function ago(at: number, nowMs: number): string {
  const age = nowMs - at;
  return age < 1500 ? t("time.now") : t("time.ago", { time: duration(age) });
}
