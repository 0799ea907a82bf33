/** What the History page fetches for a span of time. */

import { useMemo } from "react";
import { useQuery, type Query } from "@/api/query";
import type { Energy, Meter, Period, Series } from "@/api/types";
import { startOf, step, type Span } from "@/lib/zone";

export type View = "energy" | "power" | "voltage" | "pf";
export interface Frame { span: Span; from: number; to: number; before: { from: number; to: number } }

export const BY: Record<Span, Period> = { day: "hour", week: "day", month: "day", year: "month" };
const FIELDS: Record<Exclude<View, "energy">, string> = { power: "p,p_min,p_max", voltage: "v,v_min,v_max", pf: "pf" };
const POINTS = 1500;

export function frameOf(span: Span, at: number): Frame {
  const from = startOf(at, span);
  return { span, from, to: step(from, span, 1), before: { from: step(from, span, -1), to: from } };
}

export function useEnergy(meter: Meter | undefined, span: Span, from: number, to: number, enabled: boolean): Query<Energy> {
  return useQuery<Energy>(meter ? `meters/${meter.id}/energy` : null, {
    params: { start: from, end: to, by: BY[span] }, enabled, everyMs: 60_000,
  });
}

export function useSeries(meter: Meter | undefined, channel: string, view: View, from: number, to: number, enabled: boolean): Query<Series> {
  return useQuery<Series>(meter && view !== "energy" && channel ? `meters/${meter.id}/series` : null, {
    params: { channel, fields: view === "energy" ? "p" : FIELDS[view], start: from, end: to, points: POINTS },
    enabled, everyMs: 60_000,
  });
}

/** Channels in the order grid, solar, loads. */
export function useChannels(meter: Meter | undefined): string[] {
  return useMemo(() => {
    const order = { grid: 0, solar: 1, load: 2 };
    return Object.entries(meter?.channels ?? {})
      .sort(([a, x], [b, y]) => order[x.role] - order[y.role] || a.localeCompare(b))
      .map(([name]) => name);
  }, [meter]);
}
