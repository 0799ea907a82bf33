/** The curve that an alert speaks of: when it was, and from what to what. */

import { lazy, Suspense, useMemo } from "react";
import { useQuery } from "@/api/query";
import type { Alert, Field, Meter, Series } from "@/api/types";
import { t } from "@/i18n";
import { number, powerText, when } from "@/lib/format";
import { broken } from "@/lib/line";
import { useStore } from "@/lib/store";
import { paint, token } from "@/lib/theme";
import { fromWall, toWall } from "@/lib/zone";
import { beganAt } from "@/pages/alerts/parts";
import type { Option } from "@/ui/Chart";
import { frame, text, timeAxis, tip, tooltip, valueAxis } from "@/ui/chartParts";
import { Shown, Waiting } from "@/ui/feedback";

const Chart = lazy(() => import("@/ui/Chart"));
interface Measure { field: Field; text: (value: number) => string; limits: string[] }

const volts = (value: number): string => `${number(value, Number.isInteger(value) ? 0 : 1)} V`;
const VOLTAGE: Measure = { field: "v", text: volts, limits: ["limit_v"] };
const POWER: Measure = { field: "p", text: powerText, limits: ["limit_w", "contracted_w", "limit_power_w"] };
const MEASURES: Record<string, Measure> = {
  over_voltage: VOLTAGE, under_voltage: VOLTAGE, outage: VOLTAGE,
  over_current: { field: "i", text: (value) => `${number(value, 1)} A`, limits: ["limit_a"] },
  frequency: { field: "f", text: (value) => `${number(value, 2)} Hz`, limits: ["limit_hz"] },
  low_power_factor: { field: "pf", text: (value) => number(value, 2), limits: ["limit"] },
};
const MIN_MARGIN_MS = 120_000;

/** The alert's time with as much again on both sides. */
export function windowOf(alert: Alert, nowMs: number): { from: number; to: number; begin: number; end: number } {
  const begin = beganAt(alert);
  const end = alert.resolved ?? Math.max(nowMs, alert.updated);
  const margin = Math.max(MIN_MARGIN_MS, (end - begin) * 0.75);
  return { from: Math.round(begin - margin), to: Math.round(Math.min(end + margin, Math.max(nowMs, end))), begin, end };
}

export function Evidence({ alert, meter, nowMs }: { alert: Alert; meter: Meter; nowMs: number }) {
  const measure = MEASURES[alert.kind] ?? POWER;
  const names = Object.keys(meter.channels);
  const channel = alert.channel ?? names.find((name) => meter.channels[name]?.role === "grid") ?? names[0] ?? "grid";
  const nowMinute = Math.floor(nowMs / 15_000) * 15_000; // a running alert's curve grows in steps
  const span = useMemo(() => windowOf(alert, nowMinute), [alert, nowMinute]);
  const series = useQuery<Series>(`meters/${meter.id}/series`, {
    params: { channel, fields: measure.field, start: span.from, end: span.to, points: 1200 },
  });
  return <Shown query={series}>{(data) => <Curve alert={alert} series={data} measure={measure} span={span} />}</Shown>;
}

interface CurveProps { alert: Alert; series: Series; measure: Measure; span: ReturnType<typeof windowOf> }

function Curve({ alert, series, measure, span }: CurveProps) {
  const painted = useStore(paint);
  const option = useMemo(
    () => evidenceOption(alert, series, measure, span),
    // eslint-disable-next-line react-hooks/exhaustive-deps -- colours are read from the page
    [alert, series, measure, span, painted],
  );
  return (
    <Suspense fallback={<div className="chart"><Waiting /></div>}>
      <Chart option={option} label={`${alert.title}. ${alert.detail}`} className="chart-evidence" />
    </Suspense>
  );
}

function limitOf(alert: Alert, measure: Measure): number | null {
  for (const name of measure.limits) {
    const value = alert.evidence[name];
    if (typeof value === "number") return value;
  }
  return null;
}

function evidenceOption(alert: Alert, series: Series, measure: Measure, span: CurveProps["span"]): Option {
  const color = token(alert.severity);
  const limit = limitOf(alert, measure);
  const values = series[measure.field] ?? [];
  const reach = limit === null ? {} : {
    min: (shown: { min: number; max: number }) => niceLow(Math.min(shown.min, limit), Math.max(shown.max, limit)),
    max: (shown: { min: number; max: number }) => niceHigh(Math.min(shown.min, limit), Math.max(shown.max, limit)),
  };
  return {
    animation: false, useUTC: true, grid: frame(), dataZoom: [],
    xAxis: timeAxis(toWall(span.from), toWall(span.to)),
    yAxis: valueAxis((value) => measure.text(value), { scale: true, ...reach }),
    tooltip: tooltip((items) => {
      const [at, value] = (items[0]?.value ?? [0, null]) as [number, number | null];
      return tip(when(fromWall(at), "seconds"), [{ name: alert.title, value: value === null ? "–" : measure.text(value), color: token("grid") }]);
    }),
    series: [{
      type: "line", symbol: "none", data: broken(series.t, values, series.resolution).map(([at, value]) => [toWall(at), value]),
      lineStyle: { color: token("grid"), width: 1.8 }, itemStyle: { color: token("grid") },
      markArea: {
        silent: true, itemStyle: { color, opacity: 0.13 }, label: { ...text(), color, position: isAtEnd(span) ? "insideTopRight" : "insideTop" },
        data: [[{ xAxis: toWall(span.begin), name: t("alerts.evidence.span") }, { xAxis: toWall(span.end) }]],
      },
    }, ...(limit === null ? [] : [limitLine(limit, measure, span, color)])],
  };
}

/** A young alert's stripe is narrower than its name: there the name keeps inside the chart. */
function isAtEnd({ from, to, end }: CurveProps["span"]): boolean {
  return to - end < (to - from) / 10;
}

function limitLine(limit: number, measure: Measure, span: CurveProps["span"], color: string): Option {
  return {
    type: "line", symbol: "none", silent: true, tooltip: { show: false }, data: [[toWall(span.from), limit], [toWall(span.to), limit]],
    lineStyle: { color, type: [5, 4], width: 1.5 }, itemStyle: { color },
    endLabel: { ...text(), show: true, color, align: "right", verticalAlign: "bottom", offset: [-6, -4], formatter: t("alerts.evidence.limit", { value: measure.text(limit) }) },
  };
}

function niceLow(low: number, high: number): number {
  const step = stepFor(high - low);
  return Math.floor((low - (high - low) * 0.08) / step) * step;
}

function niceHigh(low: number, high: number): number {
  const step = stepFor(high - low);
  return Math.ceil((high + (high - low) * 0.08) / step) * step;
}

function stepFor(range: number): number {
  return 10 ** Math.floor(Math.log10(Math.max(range, 1e-6)));
}
