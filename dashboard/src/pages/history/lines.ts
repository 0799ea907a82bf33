/** Power, voltage and power factor as lines, broken where nothing was measured. */

import type { Field, Series } from "@/api/types";
import { t } from "@/i18n";
import { axisPower, NONE, number, powerText, when } from "@/lib/format";
import { broken, holes, type Point } from "@/lib/line";
import { token } from "@/lib/theme";
import { fromWall, toWall } from "@/lib/zone";
import type { View } from "@/pages/history/load";
import type { Option } from "@/ui/Chart";
import { frame, hatched, text, timeAxis, tip, tooltip, valueAxis } from "@/ui/chartParts";

export interface Line { id: string; name: string; series: Series; fine?: Series | null; color: string; shiftMs?: number; dashed?: boolean }
type Kind = Exclude<View, "energy">;

const MAIN: Record<Kind, Field> = { power: "p", voltage: "v", pf: "pf" };
const BANDS: Partial<Record<Kind, [Field, Field]>> = { power: ["p_min", "p_max"], voltage: ["v_min", "v_max"] };

export function valueText(kind: Kind, value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  if (kind === "power") return powerText(value);
  return kind === "voltage" ? `${number(value, 1)} V` : number(value, 2);
}

function axisText(kind: Kind, value: number): string {
  if (kind === "power") return axisPower(value);
  return kind === "voltage" ? `${number(value)} V` : number(value, 2);
}

/** The coarse points with the fine ones in place of those they stand for. */
export function merged(line: Line, field: Field): Point[] {
  const points = (series: Series): Point[] => broken(series.t, series[field] ?? [], series.resolution);
  const coarse = points(line.series);
  const first = line.fine?.t[0];
  const last = line.fine?.t.at(-1);
  if (!line.fine || first === undefined || last === undefined) return coarse;
  return [...coarse.filter(([at]) => at < first), ...points(line.fine), ...coarse.filter(([at]) => at > last)];
}

const wall = (points: readonly Point[], shift: number): Point[] => points.map(([at, value]) => [toWall(at) + shift, value]);

function bandOf(line: Line, [low, high]: [Field, Field]): Option[] {
  const lows = wall(merged(line, low), line.shiftMs ?? 0);
  const highs = wall(merged(line, high), line.shiftMs ?? 0);
  const rest: Point[] = lows.map(([at, value], n) => {
    const top = highs[n]?.[1] ?? null;
    return [at, value === null || top === null ? null : top - value];
  });
  const common = { type: "line", stack: `band-${line.id}`, stackStrategy: "all", symbol: "none", silent: true, lineStyle: { opacity: 0 }, animation: false };
  return [
    { ...common, id: `${line.id}-low`, data: lows },
    { ...common, id: `${line.id}-band`, data: rest, areaStyle: { color: line.color, opacity: 0.16 } },
  ];
}

export function linesOption(kind: Kind, lines: readonly Line[], from: number, to: number): Option {
  const main = lines[0];
  const gaps = main ? holes(main.series.t, main.series.gaps, main.series.resolution, [from, Math.min(to, Date.now())], (to - from) / 400) : [];
  const spans = gaps.map(([a, b]): [number, number] => [toWall(a), toWall(b)]);
  const drawn = lines.map((line, n) => ({
    id: line.id, name: line.name, type: "line", symbol: "none", connectNulls: false, animation: false, sampling: "lttb",
    data: wall(merged(line, MAIN[kind]), line.shiftMs ?? 0),
    lineStyle: { color: line.color, width: 1.8, type: line.dashed ? [4, 4] : "solid" }, itemStyle: { color: line.color },
    areaStyle: kind === "power" && !line.dashed ? { color: line.color, opacity: 0.08 } : undefined,
    ...(n === 0 ? { markArea: hatched(spans, t("history.gap"), to - from) } : {}),
  }));
  const band = BANDS[kind];
  const bands = band ? lines.filter((line) => !line.dashed && line.series[band[0]]).flatMap((line) => bandOf(line, band)) : [];
  return {
    animation: false, grid: { ...frame(), bottom: 62 }, series: [...bands, ...drawn],
    xAxis: timeAxis(toWall(from), toWall(to)), useUTC: true,
    yAxis: valueAxis((value) => axisText(kind, value), { scale: kind !== "power", ...(kind === "pf" ? { max: 1 } : {}) }),
    tooltip: tooltip((items) => {
      const at = (items[0]?.value as Point | undefined)?.[0] ?? 0;
      const rows = items.flatMap((item) => {
        const line = lines.find((one) => one.id === item.seriesId);
        return line ? [{ name: line.name, value: valueText(kind, (item.value as Point)[1]), color: line.color }] : [];
      });
      return tip(when(fromWall(at), "moment"), rows);
    }),
    dataZoom: [
      { type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false, preventDefaultMouseMove: false, minValueSpan: 60_000 },
      {
        type: "slider", height: 30, bottom: 8, showDetail: false, brushSelect: false, minValueSpan: 60_000, moveHandleSize: 0,
        borderColor: "transparent", backgroundColor: token("sunken"), fillerColor: token("accent-soft"),
        handleStyle: { color: token("surface"), borderColor: token("edge") }, dataBackground: { lineStyle: { color: token("edge") }, areaStyle: { color: token("line") } },
        selectedDataBackground: { lineStyle: { color: token("accent") }, areaStyle: { color: token("accent-soft") } }, textStyle: text(),
      },
    ],
  };
}
