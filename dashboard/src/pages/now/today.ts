/** What the Now page fetches: today's energy and the last day's power of several meters. */

import { useEffect, useMemo, useState } from "react";
import { ApiError, get } from "@/api/client";
import { live } from "@/api/live";
import type { ChannelRole, Energy, Meter, Series, SiteNode } from "@/api/types";
import { countedOf, countsOf, totalsOf, type Totals } from "@/lib/house";
import { DAY_MS, startOf, zone } from "@/lib/zone";

const EVERY_MS = 60_000;
const POINTS = 288;

export interface DayLine { t: number[]; house: (number | null)[]; solar: (number | null)[]; from: number; to: number }
export interface Today { totals: Totals | null; line: DayLine | null; failed: boolean }

async function energyOf(meter: Meter, startMs: number): Promise<{ meter: Meter; energy: Energy }> {
  const energy = await get<Energy>(`meters/${meter.id}/energy`, { start: startMs, end: Date.now(), by: "day" });
  return { meter, energy };
}

async function seriesOf(meter: Meter, role: ChannelRole, from: number, to: number): Promise<Series[]> {
  const names = Object.keys(meter.channels).filter((name) => meter.channels[name]?.role === role);
  return Promise.all(names.map((channel) =>
    get<Series>(`meters/${meter.id}/series`, { channel, fields: "p", start: from, end: to, resolution: "15m", points: POINTS })));
}

/** Add up quarter hours of several channels; a quarter that none has is null. */
export function addUp(series: readonly Series[], t: readonly number[]): (number | null)[] {
  const sums = new Map<number, number>();
  for (const one of series) {
    one.t.forEach((at, n) => {
      const value = one.p?.[n];
      if (value !== null && value !== undefined) sums.set(at, (sums.get(at) ?? 0) + value);
    });
  }
  return t.map((at) => sums.get(at) ?? null);
}

async function lineOf(meters: readonly Meter[], nodes: readonly SiteNode[]): Promise<DayLine> {
  const to = Date.now();
  const from = to - DAY_MS;
  const counts = countsOf(meters, nodes);
  const ask = (role: ChannelRole): Promise<Series[][]> =>
    Promise.all(meters.filter((meter) => counts(meter, role)).map((meter) => seriesOf(meter, role, from, to)));
  const [grid, solar] = await Promise.all([ask("grid"), ask("solar")]);
  const t = [...new Set([...grid, ...solar].flat().flatMap((one) => one.t))].sort((a, b) => a - b);
  const atGrid = addUp(grid.flat(), t);
  const sun = addUp(solar.flat(), t);
  const house = atGrid.map((watts, n) => (watts === null ? null : Math.max(0, watts + Math.max(0, sun[n] ?? 0))));
  return { t, house, solar: sun, from, to };
}

/** Today in numbers and the last 24 hours as a line, renewed each minute; `nodes` are the site's tree. */
export function useToday(meters: readonly Meter[], nodes: readonly SiteNode[]): Today {
  const ids = meters.map((meter) => meter.id).sort().join(" ");
  const [found, setFound] = useState<Today & { ids: string }>({ totals: null, line: null, failed: false, ids: "" });
  useEffect(() => {
    if (!ids) return undefined;
    let stopped = false;
    const load = async (): Promise<void> => {
      const all = live.get().meters;
      const wanted = countedOf(ids.split(" ").flatMap((id) => all[id] ?? []), nodes);
      try {
        const day = startOf(Date.now(), "day");
        let answers = await Promise.all(wanted.map((meter) => energyOf(meter, day)));
        const told = answers[0]?.energy.timezone;
        if (told && told !== zone.get()) {
          zone.set(told);
          const begin = startOf(Date.now(), "day");
          if (begin !== day) answers = await Promise.all(wanted.map((meter) => energyOf(meter, begin)));
        }
        const line = await lineOf(wanted, nodes);
        if (!stopped) setFound({ totals: totalsOf(answers, nodes), line, failed: false, ids });
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (!stopped) setFound((before) => ({ ...before, failed: true }));
      }
    };
    void load();
    const timer = setInterval(() => {
      if (!document.hidden) void load();
    }, EVERY_MS);
    return () => {
      stopped = true;
      clearInterval(timer);
    };
  }, [ids, nodes]);
  return useMemo(() => (found.ids === ids ? found : { totals: null, line: null, failed: found.failed }), [found, ids]);
}
