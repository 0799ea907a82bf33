/** A week of prices at a glance: one row a day, the dearer the darker. */

import type { PriceEntry } from "@/api/types";
import { locale, t } from "@/i18n";
import { ALL_DAYS, cover } from "@/pages/tariffs/plans";

const MONDAY = Date.UTC(2024, 0, 1);
const DAY_MS = 86_400_000;
const QUARTERS = 96;

export function dayName(day: number, style: "short" | "narrow" | "long" = "short"): string {
  return new Intl.DateTimeFormat(locale, { weekday: style, timeZone: "UTC" }).format(MONDAY + day * DAY_MS);
}

function shade(value: number, prices: readonly number[]): string {
  const distinct = [...new Set(prices)].sort((a, b) => a - b);
  const at = distinct.indexOf(value);
  return `price-${distinct.length === 1 ? 1 : Math.round((at / (distinct.length - 1)) * 3)}`;
}

/** Runs of equal price of one day, in quarters. */
function runs(entries: readonly PriceEntry[], day: number): { from: number; to: number; entry: number | undefined }[] {
  const week = cover(entries).slice(day * QUARTERS, (day + 1) * QUARTERS).map((found) => found[0]);
  const all: { from: number; to: number; entry: number | undefined }[] = [];
  week.forEach((entry, q) => {
    const last = all.at(-1);
    if (last && last.entry === entry) last.to = q + 1;
    else all.push({ from: q, to: q + 1, entry });
  });
  return all;
}

const HOURS = [0, 6, 12, 18, 24] as const;

export function WeekPicture({ entries, price }: { entries: readonly PriceEntry[]; price: (value: number) => string }) {
  const prices = entries.map((entry) => entry.price_per_kwh);
  const distinct = [...new Set(prices)].sort((a, b) => a - b);
  return (
    <figure className="week">
      <div className="week-days" role="img" aria-label={t("tariffs.week")}>
        {ALL_DAYS.map((day) => (
          <div key={day} className="week-day">
            <span>{dayName(day)}</span>
            <div className="week-bar">
              {runs(entries, day).map((run) => (
                <i
                  key={run.from} style={{ flexGrow: run.to - run.from }}
                  className={run.entry === undefined ? "price-none" : shade(prices[run.entry] ?? 0, prices)}
                />
              ))}
            </div>
          </div>
        ))}
        <div className="week-day week-hours"><span /><div className="week-bar">{HOURS.map((hour) => <span key={hour}>{hour}</span>)}</div></div>
      </div>
      <figcaption className="legend">
        {distinct.map((value) => (
          <span key={value} className="row"><i className={`swatch ${shade(value, prices)}`} /><b>{price(value)}</b> {t("tariffs.perkwh")}</span>
        ))}
      </figcaption>
    </figure>
  );
}
