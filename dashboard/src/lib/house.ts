/** What flows where in a house, from what its meters say. */

import type { Alert, ChannelRole, Energy, Meter, SiteNode } from "@/api/types";

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
  /** What of the loads is known, without those that a load above them in the site's tree includes. */
  known: number;
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

/** Sum over meters; those whose newest reading is old are left out and counted. All loads are told. */
export function flowOf(meters: readonly Meter[], nowMs: number, nodes: readonly SiteNode[] = []): Flow {
  const counted = new Set(countedOf(meters, nodes));
  const above = rolesAbove(meters, nodes);
  const counts = countsOf(meters, nodes);
  const flow = { grid: null as number | null, solar: null as number | null, oldest: null as number | null, left_out: 0, known: 0 };
  const loads: Loads[] = [];
  for (const meter of meters) {
    if (!meter.last || ageOf(meter, nowMs) === "old") {
      const isUnknown = Object.keys(meter.channels).length === 0; // it has never sent
      if (counted.has(meter) || isUnknown) flow.left_out += 1;
      continue;
    }
    flow.oldest = Math.min(flow.oldest ?? meter.last.t, meter.last.t);
    for (const [channel, info] of Object.entries(meter.channels)) {
      const watts = meter.last.ch[channel]?.p ?? null;
      if (watts === null) continue;
      if (info.role === "load") {
        loads.push({ meter: meter.id, channel, watts });
        if (!above.get(meter.id)?.has("load")) flow.known += Math.max(0, watts);
      } else if (counts(meter, info.role)) flow[info.role] = (flow[info.role] ?? 0) + watts;
    }
  }
  const roles = meters.flatMap((meter) => Object.values(meter.channels).map((c) => c.role));
  const parts = split(flow.grid ?? 0, flow.solar ?? 0);
  return {
    ...flow, ...parts,
    house: flow.grid === null ? null : parts.house,
    loads: loads.sort((a, b) => b.watts - a.watts),
    hasSolar: roles.includes("solar"),
    hasGrid: roles.includes("grid"),
  };
}

const ROLES: readonly ChannelRole[] = ["grid", "load", "solar"];

function measures(meter: Meter, role: ChannelRole): boolean {
  return Object.values(meter.channels).some((channel) => channel.role === role);
}

/** What the meters above each one in the site's tree measure there; a meter with none is not in it. */
function rolesAbove(meters: readonly Meter[], nodes: readonly SiteNode[]): Map<string, Set<ChannelRole>> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const shown = new Map(meters.map((meter) => [meter.id, meter]));
  const found = new Map<string, Set<ChannelRole>>();
  for (const { meter, parent } of nodes) {
    if (meter === null) continue;
    for (let at = parent; at !== null;) {
      const node = byId.get(at);
      const over = node?.meter != null && node.meter !== meter ? shown.get(node.meter) : undefined;
      const role = over && (node?.channel == null ? ROLES.find((one) => measures(over, one)) : over.channels[node.channel]?.role);
      if (role) found.set(meter, (found.get(meter) ?? new Set()).add(role));
      at = node?.parent ?? null;
    }
  }
  return found;
}

export type Counts = (meter: Meter, role: ChannelRole) => boolean;

/**
 * Which channels make up the house's sum, each kilowatt hour once: the grid's, else the loads', of
 * meters behind no other one; and all sun, which a grid meter above does not tell.
 */
export function countsOf(meters: readonly Meter[], nodes: readonly SiteNode[]): Counts {
  const above = rolesAbove(meters, nodes);
  const main: ChannelRole = meters.some((meter) => measures(meter, "grid")) ? "grid" : "load";
  return (meter, role) => measures(meter, role) && (role === "solar" ? !above.get(meter.id)?.has("solar") : role === main && !above.has(meter.id));
}

/** The meters that the house's sum needs. */
export function countedOf(meters: readonly Meter[], nodes: readonly SiteNode[]): Meter[] {
  const counts = countsOf(meters, nodes);
  return meters.filter((meter) => ROLES.some((role) => counts(meter, role)));
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

interface Answer { meter: Meter; energy: Energy }
interface Told { meter: Meter; item: Energy["items"][number] }

/** Sum a house's energy over its meters and intervals; the site's tree says which stand behind others. */
export function totalsOf(answers: readonly Answer[], nodes: readonly SiteNode[] = []): Totals {
  const sum: Totals = {
    imported: null, exported: null, generated: null, selfUsed: null, used: null,
    selfConsumption: null, selfSufficiency: null, cost: null, currency: "", partial: false, estimated: false,
  };
  const meters = answers.map((answer) => answer.meter);
  const counts = countsOf(meters, nodes);
  const counted = new Set(countedOf(meters, nodes));
  const currencies = new Set<string>();
  for (const span of spansOf(answers.filter((answer) => counted.has(answer.meter)))) {
    const part = partsIn(span, counts);
    for (const key of ["imported", "exported", "generated", "selfUsed", "used"] as const) sum[key] = plus(sum[key], part[key]);
    sum.estimated ||= span.some(({ item }) => Object.values(item.channels).some((c) => c.estimated));
    sum.partial ||= span.some(({ item }) => item.partial);
    sum.cost = plus(sum.cost, costIn(span, counts, currencies));
  }
  sum.currency = [...currencies].at(-1) ?? "";
  if (currencies.size > 1) sum.cost = null;
  if (sum.generated && sum.selfUsed !== null) sum.selfConsumption = sum.selfUsed / sum.generated;
  if (sum.used && sum.selfUsed !== null) sum.selfSufficiency = sum.selfUsed / sum.used;
  return sum;
}

/** What all meters tell of each interval. */
function spansOf(answers: readonly Answer[]): Told[][] {
  const spans = new Map<number, Told[]>();
  for (const { meter, energy } of answers) {
    for (const item of energy.items) spans.set(item.from, [...(spans.get(item.from) ?? []), { meter, item }]);
  }
  return [...spans.values()];
}

/** One interval's cost. A house has one contract, so its standing charge is paid once. */
function costIn(span: readonly Told[], counts: Counts, currencies: Set<string>): number | null {
  let [sum, standing]: [number | null, number] = [null, 0];
  for (const { meter, item: { cost } } of span) {
    if (!cost || !counts(meter, cost.basis)) continue;
    currencies.add(cost.currency);
    sum = plus(sum, cost.total - cost.standing);
    standing = Math.max(standing, cost.standing);
  }
  return plus(sum, sum === null ? null : standing);
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
  return partsIn([{ meter, item }], countsOf([meter], []));
}

/** One interval of a house, from its meters. */
function partsIn(span: readonly Told[], counts: Counts): Parts {
  const of = (role: ChannelRole, side: "kwh_in" | "kwh_out"): number | null =>
    span.reduce<number | null>((sum, told) => (counts(told.meter, role) ? plus(sum, energyOf(told, role, side)) : sum), null);
  const parts = { imported: of("grid", "kwh_in"), exported: of("grid", "kwh_out"), generated: of("solar", "kwh_in") };
  const atGrid = span.filter(({ meter }) => counts(meter, "grid"));
  if (atGrid.length === 0) return { ...parts, selfUsed: null, used: of("load", "kwh_in") };
  const sunny = span.filter(({ meter }) => counts(meter, "solar"));
  if (sunny.every((told) => atGrid.includes(told))) { // the gateway has gone through these step by step
    return {
      ...parts,
      selfUsed: atGrid.reduce<number | null>((sum, { item }) => plus(sum, item.solar?.self_consumed_kwh), null),
      used: atGrid.reduce<number | null>((sum, told) => plus(sum, told.item.solar?.consumed_kwh ?? energyOf(told, "grid", "kwh_in")), null),
    };
  }
  const isKnown = sunny.every((told) => energyOf(told, "solar", "kwh_in") !== null) && atGrid.every((told) => energyOf(told, "grid", "kwh_out") !== null);
  const generated = parts.generated ?? 0;
  const selfUsed = isKnown ? Math.min(generated, Math.max(0, generated - (parts.exported ?? 0))) : null;
  return { ...parts, selfUsed, used: selfUsed === null ? null : plus(parts.imported, selfUsed) };
}

function energyOf({ meter, item }: Told, role: ChannelRole, side: "kwh_in" | "kwh_out"): number | null {
  const names = Object.keys(meter.channels).filter((name) => meter.channels[name]?.role === role);
  return names.reduce<number | null>((sum, name) => plus(sum, item.channels[name]?.[side]), null);
}

export function meterName(meter: { id: string; label: string }): string {
  return meter.label || meter.id;
}

/** Worst first, then newest. */
export function bySeverity(a: Alert, b: Alert): number {
  if (a.severity !== b.severity) return a.severity === "critical" ? -1 : 1;
  return b.opened - a.opened;
}
