/** What flows where in a house, from what its meters say. */

import type { Alert, Energy, Meter, SiteNode } from "@/api/types";

export const FRESH_MS = 10_000;
export const OLD_MS = 120_000;

export type Age = "fresh" | "aging" | "old" | "none";

/** How much a reading's value may still be believed; windows may be long. */
export function ageOf(meter: Meter, nowMs: number): Age {
  if (!meter.last) return "none";
  const age = nowMs - meter.last.t;
  const usual = Math.max(FRESH_MS, 3 * meter.last.dt);
  if (age <= usual) return "fresh";
  return age <= Math.max(OLD_MS, 2 * usual) ? "aging" : "old";
}

export interface Loads { meter: string; channel: string; watts: number }
export interface Flow {
  grid: number | null;
  solar: number | null;
  house: number | null;
  fromGrid: number;
  fromSolar: number;
  exported: number;
  loads: Loads[];
  hasSolar: boolean;
  hasGrid: boolean;
  oldest: number | null;
  left_out: number;
}

/** Split grid (import +) and solar (generation +) power into the three flows. */
export function split(grid: number, solar: number): { fromGrid: number; fromSolar: number; exported: number; house: number } {
  const generated = Math.max(0, solar);
  const exported = Math.max(0, -grid);
  return {
    fromGrid: Math.max(0, grid),
    fromSolar: Math.max(0, generated - exported),
    exported,
    house: Math.max(0, grid + generated),
  };
}

/** Sum over meters; those whose newest reading is old are left out and counted. */
export function flowOf(meters: readonly Meter[], nowMs: number): Flow {
  let grid: number | null = null;
  let solar: number | null = null;
  let oldest: number | null = null;
  let leftOut = 0;
  const loads: Loads[] = [];
  for (const meter of meters) {
    const age = ageOf(meter, nowMs);
    if (!meter.last || age === "old") {
      leftOut += 1;
      continue;
    }
    oldest = Math.min(oldest ?? meter.last.t, meter.last.t);
    for (const [channel, info] of Object.entries(meter.channels)) {
      const watts = meter.last.ch[channel]?.p ?? null;
      if (watts === null) continue;
      if (info.role === "grid") grid = (grid ?? 0) + watts;
      else if (info.role === "solar") solar = (solar ?? 0) + watts;
      else loads.push({ meter: meter.id, channel, watts });
    }
  }
  const roles = meters.flatMap((meter) => Object.values(meter.channels).map((c) => c.role));
  const parts = split(grid ?? 0, solar ?? 0);
  return {
    grid, solar, ...parts,
    house: grid === null ? null : parts.house,
    loads: loads.sort((a, b) => b.watts - a.watts),
    hasSolar: roles.includes("solar"),
    hasGrid: roles.includes("grid"),
    oldest, left_out: leftOut,
  };
}

/** Meters that stand behind no other one in the site's tree: those behind are in its sum already. */
export function topMeters(meters: readonly Meter[], nodes: readonly SiteNode[]): Meter[] {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const behind = new Set<string>();
  for (const node of nodes) {
    if (node.meter === null) continue;
    for (let up = node.parent; up !== null; up = byId.get(up)?.parent ?? null) {
      const above = byId.get(up)?.meter;
      if (above && above !== node.meter) behind.add(node.meter);
    }
  }
  return meters.filter((meter) => !behind.has(meter.id));
}

export interface Totals {
  imported: number | null;
  exported: number | null;
  generated: number | null;
  selfUsed: number | null;
  used: number | null;
  selfConsumption: number | null;
  selfSufficiency: number | null;
  cost: number | null;
  currency: string;
  partial: boolean;
  estimated: boolean;
}

const plus = (a: number | null, b: number | null | undefined): number | null =>
  b === null || b === undefined ? a : (a ?? 0) + b;

/** Sum energy over meters and intervals; `roles` says what each meter's channels are. */
export function totalsOf(answers: readonly { meter: Meter; energy: Energy }[]): Totals {
  const sum: Totals = {
    imported: null, exported: null, generated: null, selfUsed: null, used: null,
    selfConsumption: null, selfSufficiency: null, cost: null, currency: "", partial: false, estimated: false,
  };
  let mixed = false;
  for (const { meter, energy } of answers) {
    for (const item of energy.items) {
      const part = partsOf(meter, item);
      sum.imported = plus(sum.imported, part.imported);
      sum.exported = plus(sum.exported, part.exported);
      sum.generated = plus(sum.generated, part.generated);
      sum.selfUsed = plus(sum.selfUsed, part.selfUsed);
      sum.used = plus(sum.used, part.used);
      sum.estimated ||= Object.values(item.channels).some((c) => c.estimated);
      sum.partial ||= item.partial;
      if (item.cost) {
        mixed ||= sum.currency !== "" && sum.currency !== item.cost.currency;
        sum.currency = item.cost.currency;
        sum.cost = plus(sum.cost, item.cost.total);
      }
    }
  }
  if (mixed) sum.cost = null;
  if (sum.generated && sum.selfUsed !== null) sum.selfConsumption = sum.selfUsed / sum.generated;
  if (sum.used && sum.selfUsed !== null) sum.selfSufficiency = sum.selfUsed / sum.used;
  return sum;
}

/** The intervals of two spans that both have whole, by their order: only those can be compared. */
export function inBoth(meter: Meter, energy: Energy, before: Energy): [Energy, Energy] {
  const whole = (item: Energy["items"][number] | undefined): boolean => {
    if (!item || item.partial) return false;
    const { imported, generated, used } = partsOf(meter, item);
    return (imported ?? generated ?? used) !== null;
  };
  const kept = energy.items.map((item, n) => whole(item) && whole(before.items[n]));
  const only = (one: Energy): Energy => ({ ...one, items: one.items.filter((_, n) => kept[n] === true) });
  return [only(energy), only(before)];
}

export interface Parts {
  imported: number | null;
  exported: number | null;
  generated: number | null;
  selfUsed: number | null;
  used: number | null;
}

/** One interval of one meter, in the house's terms. */
export function partsOf(meter: Meter, item: Energy["items"][number]): Parts {
  const of = (role: string, side: "kwh_in" | "kwh_out"): number | null => {
    let sum: number | null = null;
    for (const [name, info] of Object.entries(meter.channels)) {
      if (info.role === role) sum = plus(sum, item.channels[name]?.[side]);
    }
    return sum;
  };
  const hasGrid = Object.values(meter.channels).some((c) => c.role === "grid");
  const imported = of("grid", "kwh_in");
  return {
    imported,
    exported: of("grid", "kwh_out"),
    generated: of("solar", "kwh_in"),
    selfUsed: item.solar?.self_consumed_kwh ?? null,
    used: item.solar ? item.solar.consumed_kwh : hasGrid ? imported : of("load", "kwh_in"),
  };
}

export function meterName(meter: { id: string; label: string }): string {
  return meter.label || meter.id;
}

/** Worst first, then newest. */
export function bySeverity(a: Alert, b: Alert): number {
  if (a.severity !== b.severity) return a.severity === "critical" ? -1 : 1;
  return b.opened - a.opened;
}
