/** Lines of a chart, broken where nothing was measured. */

import type { Gap } from "@/api/types";

export type Point = [number, number | null];

const MEANT = { raw: 0, "1m": 60_000, "15m": 900_000, "1h": 3_600_000, "1d": 86_400_000 } as const;

/** Tell whether the time jumps before point `n`. Single readings may be long ones where a meter
 * has sent averages, so they are measured by their neighbours. */
function jumps(t: readonly number[], n: number, resolution: keyof typeof MEANT): boolean {
  const distance = (k: number): number => (k > 0 && k < t.length ? (t[k] ?? 0) - (t[k - 1] ?? 0) : 0);
  const usual = resolution === "raw" ? Math.max(distance(n - 1), distance(n + 1), 2000) : MEANT[resolution];
  return distance(n) > usual * 2.5;
}

/** Pair times and values, with a null wherever the time jumps: no line is drawn across. */
export function broken(
  t: readonly number[], values: readonly (number | null)[], resolution: keyof typeof MEANT,
): Point[] {
  const points: Point[] = [];
  t.forEach((at, n) => {
    if (n > 0 && jumps(t, n, resolution)) points.push([(t[n - 1] ?? at) + 1, null]);
    points.push([at, values[n] ?? null]);
  });
  return points;
}

/** Where nothing is: gaps as told, and jumps of the times, merged, at least `least` ms long. */
export function holes(
  t: readonly number[], gaps: readonly Gap[], resolution: keyof typeof MEANT, span: [number, number], least: number,
): [number, number][] {
  const usual = MEANT[resolution];
  const found: [number, number][] = gaps.map((gap) => [gap.from, gap.to]);
  for (let n = 1; n < t.length; n += 1) {
    if (jumps(t, n, resolution)) found.push([(t[n - 1] ?? 0) + usual, t[n] ?? 0]);
  }
  const merged: [number, number][] = [];
  for (const [from, to] of found.sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged
    .map(([from, to]): [number, number] => [Math.max(from, span[0]), Math.min(to, span[1])])
    .filter(([from, to]) => to - from >= least);
}
