/** Prices by time of the week. */

import type { PriceEntry, Tariff, TariffDraft } from "@/api/types";

const QUARTERS_A_DAY = 96;
export const ALL_DAYS: readonly number[] = [0, 1, 2, 3, 4, 5, 6];

function quarter(time: string): number {
  const [h, m] = time.split(":").map(Number);
  return ((h ?? 0) * 60 + (m ?? 0)) / 15;
}

/** For each quarter hour of the week, from Monday, the entries that price it. */
export function cover(entries: readonly PriceEntry[]): number[][] {
  const week: number[][] = Array.from({ length: 7 * QUARTERS_A_DAY }, () => []);
  entries.forEach((entry, n) => {
    const from = quarter(entry.from);
    const to = quarter(entry.to) <= from ? quarter(entry.to) + QUARTERS_A_DAY : quarter(entry.to);
    for (const day of entry.days) {
      for (let q = from; q < to; q += 1) week[(day * QUARTERS_A_DAY + q) % week.length]?.push(n);
    }
  });
  return week;
}

export function isWhole(entries: readonly PriceEntry[]): boolean {
  return cover(entries).every((found) => found.length === 1);
}

export function isFlat(entries: readonly PriceEntry[]): boolean {
  return entries.length === 1 && isWhole(entries);
}

export function flat(price: number): PriceEntry[] {
  return [{ days: [...ALL_DAYS], from: "00:00", to: "24:00", price_per_kwh: price }];
}

export function fresh(before: Tariff | undefined, today: string): TariffDraft {
  return {
    name: "", valid_from: today, currency: before?.currency ?? "EUR", import: before?.import ?? flat(0.25),
    feed_in_per_kwh: before?.feed_in_per_kwh ?? 0, standing_per_day: before?.standing_per_day ?? 0,
  };
}

/** Newest first; with the day each ends, null = open. */
export function inOrder(plans: readonly Tariff[]): { plan: Tariff; until: string | null }[] {
  const sorted = [...plans].sort((a, b) => b.valid_from.localeCompare(a.valid_from));
  return sorted.map((plan, n) => ({ plan, until: sorted[n - 1]?.valid_from ?? null }));
}
