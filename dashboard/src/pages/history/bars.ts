/** Energy as stacked bars: what came from grid and sun upwards, what went to the grid downwards. */

import type { Energy, Meter } from "@/api/types";
import { t } from "@/i18n";
import { kwh, NONE, number, when } from "@/lib/format";
import { partsOf, type Parts } from "@/lib/house";
import { token } from "@/lib/theme";
import type { Span } from "@/lib/zone";
import type { Option } from "@/ui/Chart";
import { frame, namesAxis, tip, tooltip, valueAxis, type TipRow } from "@/ui/chartParts";

export interface Bucket extends Parts { from: number; to: number; estimated: boolean; partial: boolean; cost: number | null; currency: string }

export function bucketsOf(meter: Meter, energy: Energy): Bucket[] {
  return energy.items.map((item) => ({
    ...partsOf(meter, item), from: item.from, to: item.to, partial: item.partial,
    estimated: Object.values(item.channels).some((channel) => channel.estimated),
    cost: item.cost?.total ?? null, currency: item.cost?.currency ?? "",
  }));
}

export function bucketName(at: number, span: Span): string {
  if (span === "day") return when(at, "time");
  if (span === "year") return when(at, "month").split(" ")[0]?.slice(0, 3) ?? "";
  return span === "week" ? when(at, "day") : String(Number(when(at, "day").replace(/\D+/g, "")));
}

function bucketTitle(bucket: Bucket, span: Span): string {
  if (span === "day") return `${when(bucket.from, "time")} – ${when(bucket.to, "time")}`;
  return span === "year" ? when(bucket.from, "month") : when(bucket.from, "day");
}

const DECAL = { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 4], rotation: -Math.PI / 4, color: "rgba(255,255,255,0.45)" };

function bars(id: string, color: string, buckets: readonly Bucket[], value: (bucket: Bucket) => number | null, top: boolean): Option {
  const data = buckets.map((bucket) => ({
    value: value(bucket),
    itemStyle: bucket.estimated ? { decal: DECAL } : {},
  }));
  return {
    id, type: "bar", stack: "energy", barMaxWidth: 34, data, animationDuration: 250,
    itemStyle: { color, borderRadius: top ? [3, 3, 0, 0] : 0 },
  };
}

export function energyOption(buckets: readonly Bucket[], before: readonly Bucket[] | null, span: Span, hasSolar: boolean): Option {
  const colors = { grid: token("grid"), solar: token("solar-fill"), export: token("export") };
  const series = [
    ...(hasSolar ? [bars("self", colors.solar, buckets, (b) => b.selfUsed, false)] : []),
    bars("imported", colors.grid, buckets, (b) => (hasSolar ? b.imported : b.used), true),
    ...(buckets.some((b) => (b.exported ?? 0) > 0) ? [bars("exported", colors.export, buckets, (b) => (b.exported === null ? null : -b.exported), false)] : []),
    ...(before ? [{
      id: "before", type: "line", step: "middle", symbol: "none", z: 5, data: buckets.map((_, n) => before[n]?.used ?? null),
      lineStyle: { color: token("text"), width: 1.5, type: [4, 4] }, itemStyle: { color: token("text") },
    }] : []),
  ];
  return {
    animationDuration: 250, grid: frame(),
    xAxis: namesAxis(buckets.map((bucket) => bucketName(bucket.from, span))),
    yAxis: valueAxis((value) => number(value, Math.abs(value) < 1 && value !== 0 ? 1 : 0), { name: "kWh", nameTextStyle: { color: token("muted"), align: "right" }, nameGap: 10 }),
    tooltip: tooltip((items) => {
      const n = items[0]?.dataIndex ?? 0;
      const bucket = buckets[n];
      return bucket ? tip(bucketTitle(bucket, span), rowsOf(bucket, before?.[n], hasSolar, colors)) : "";
    }),
    dataZoom: [],
    series,
  };
}

function rowsOf(bucket: Bucket, before: Bucket | undefined, hasSolar: boolean, colors: Record<"grid" | "solar" | "export", string>): TipRow[] {
  const row = (name: string, value: number | null, color: string): TipRow => ({ name, value: value === null ? NONE : `${kwh(value)} kWh`, color });
  return [
    row(t("history.used"), bucket.used, token("home")),
    row(t("history.imported"), bucket.imported, colors.grid),
    ...(hasSolar ? [row(t("history.self"), bucket.selfUsed, colors.solar), row(t("history.exported"), bucket.exported, colors.export)] : []),
    ...(before ? [row(t("history.before.used"), before.used, token("text"))] : []),
  ];
}
