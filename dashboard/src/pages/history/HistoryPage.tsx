/** History: energy, power, voltage and power factor of a day, week, month or year. */

import { lazy, Suspense, useMemo, useRef, useState } from "react";
import { get } from "@/api/client";
import { live, now } from "@/api/live";
import type { Meter, Series } from "@/api/types";
import { t } from "@/i18n";
import { when } from "@/lib/format";
import { meterName, totalsOf } from "@/lib/house";
import { useKept } from "@/lib/kept";
import { ask, usePlace } from "@/lib/router";
import { useStore } from "@/lib/store";
import { paint, token } from "@/lib/theme";
import { fromWall, startOf, step, toWall, zone, type Span } from "@/lib/zone";
import { bucketsOf, energyOption } from "@/pages/history/bars";
import { csv, energyRows, lineRows, save, saveText } from "@/pages/history/exports";
import { linesOption, type Line } from "@/pages/history/lines";
import { frameOf, useChannels, useEnergy, useSeries, type Frame, type View } from "@/pages/history/load";
import { comparedOf, Summary } from "@/pages/history/Summary";
import { EnergyTable, LineTable } from "@/pages/history/Tables";
import { Toolbar } from "@/pages/history/Toolbar";
import { Button, Card, Empty, IconButton, Page, Select } from "@/ui/basics";
import { Shown, Waiting } from "@/ui/feedback";
import type { ChartHandle } from "@/ui/Chart";

const Chart = lazy(() => import("@/ui/Chart"));
const SPANS: readonly Span[] = ["day", "week", "month", "year"];
const VIEWS: readonly View[] = ["energy", "power", "voltage", "pf"];

function oneOf<T extends string>(wanted: string | null, known: readonly T[], other: T): T {
  return known.find((value) => value === wanted) ?? other;
}

export default function HistoryPage() {
  const { meters, loaded } = useStore(live);
  const { query } = usePlace();
  const today = startOf(useStore(now), "day");
  useStore(zone);
  const [kept, keep] = useKept<string>("history.meter", "");
  const list = Object.values(meters).sort((a, b) => Number(a.recorded) - Number(b.recorded) || b.registered - a.registered || a.id.localeCompare(b.id));
  const wanted = query.get("meter") ?? kept;
  const meter = meters[wanted] ?? list.find((one) => Object.values(one.channels).some((c) => c.role === "solar")) ?? list[0];
  const span = oneOf(query.get("span"), SPANS, "day");
  const view = oneOf(query.get("view"), VIEWS, span === "day" ? "power" : "energy");
  const at = Number(query.get("at")) || today;
  const frame = useMemo(() => frameOf(span, at), [span, at]);
  if (!loaded) return <Waiting />;
  if (!meter) return <Page title={t("history.title")}><Card><Empty icon="history" title={t("history.nometers")} /></Card></Page>;
  const compare = query.get("compare") === "1";
  return (
    <Page
      title={t("history.title")}
      actions={
        <Select
          compact label={t("history.meter")} value={meter.id} options={list.map((one) => ({ value: one.id, label: meterName(one) }))}
          onChange={(id) => {
            keep(id);
            ask({ meter: id });
          }}
        />
      }
    >
      <Toolbar frame={frame} view={view} compare={compare} />
      <Content key={`${meter.id}/${view}`} meter={meter} frame={frame} view={view} compare={compare} />
    </Page>
  );
}

interface ContentProps { meter: Meter; frame: Frame; view: View; compare: boolean }

function Content({ meter, frame, view, compare }: ContentProps) {
  const energy = useEnergy(meter, frame.span, frame.from, frame.to, true);
  const before = useEnergy(meter, frame.span, frame.before.from, frame.before.to, compare);
  if (energy.data && energy.data.timezone !== zone.get()) zone.set(energy.data.timezone);
  return (
    <>
      <Summary
        totals={energy.data ? totalsOf([{ meter, energy: energy.data }]) : null}
        compared={compare && energy.data && before.data ? comparedOf(meter, energy.data, before.data) : null}
        meter={meter} frame={frame}
      />
      {view === "energy" ? (
        <Shown query={energy}>
          {(data) => <EnergyChart meter={meter} frame={frame} buckets={bucketsOf(meter, data)} before={compare && before.data ? bucketsOf(meter, before.data) : null} />}
        </Shown>
      ) : (
        <LineCharts meter={meter} frame={frame} view={view} compare={compare} />
      )}
    </>
  );
}

export function titleOf(frame: Frame): string {
  if (frame.span === "day") return when(frame.from, "long");
  if (frame.span === "week") return `${when(frame.from, "day")} – ${when(step(frame.to, "day", -1), "day")}`;
  return when(frame.from, frame.span);
}

function fileName(meter: Meter, frame: Frame, view: View, ending: string): string {
  return `${meter.id}-${view}-${new Date(frame.from + 43_200_000).toISOString().slice(0, 10)}-${frame.span}.${ending}`;
}

type Buckets = ReturnType<typeof bucketsOf>;

function EnergyChart({ meter, frame, buckets, before }: { meter: Meter; frame: Frame; buckets: Buckets; before: Buckets | null }) {
  const [table, setTable] = useState(false);
  const chart = useRef<ChartHandle>(null);
  const painted = useStore(paint);
  const hasSolar = Object.values(meter.channels).some((channel) => channel.role === "solar");
  // eslint-disable-next-line react-hooks/exhaustive-deps -- colours are read from the page
  const option = useMemo(() => energyOption(buckets, before, frame.span, hasSolar), [buckets, before, frame.span, hasSolar, painted]);
  const isEmpty = buckets.every((bucket) => bucket.used === null && bucket.imported === null && bucket.generated === null);
  return (
    <Card
      title={titleOf(frame)}
      actions={<Actions table={table} onTable={setTable}
        onCsv={() => saveText(fileName(meter, frame, "energy", "csv"), csv(energyRows(buckets)))}
        onPng={() => save(fileName(meter, frame, "energy", "png"), chart.current?.png() ?? "")} />}
    >
      {isEmpty ? <Nothing meter={meter} span={frame.span} /> : table ? <EnergyTable buckets={buckets} span={frame.span} hasSolar={hasSolar} /> : (
        <Suspense fallback={<div className="chart chart-tall"><Waiting /></div>}>
          <Chart option={option} label={titleOf(frame)} handle={chart} className="chart-tall" />
        </Suspense>
      )}
      <Legend items={[...(hasSolar ? [["solar", t("history.self")] as const] : []), ["grid", t("history.imported")], ...(hasSolar ? [["export", t("history.exported")] as const] : [])]} />
      {buckets.some((bucket) => bucket.estimated) && <p className="hint">{t("history.estimated")}</p>}
    </Card>
  );
}

const COLORS = ["grid", "solar-fill", "home", "export", "accent", "critical"] as const;

function LineCharts({ meter, frame, view, compare }: ContentProps) {
  const names = useChannels(meter);
  const first = useSeries(meter, names[0] ?? "", view, frame.from, frame.to, true);
  const second = useSeries(meter, names[1] ?? "", view, frame.from, frame.to, view !== "voltage");
  const third = useSeries(meter, names[2] ?? "", view, frame.from, frame.to, view !== "voltage");
  const fourth = useSeries(meter, names[3] ?? "", view, frame.from, frame.to, view !== "voltage");
  const before = useSeries(meter, names[0] ?? "", view, frame.before.from, frame.before.to, compare);
  const [fine, setFine] = useState<Record<string, Series>>({});
  const found = [first, second, third, fourth];
  const lines: Line[] = names.flatMap((name, n) => {
    const series = found[n]?.data;
    const label = view === "voltage" ? t("history.voltage") : meter.channels[name]?.role === "load" ? name : t(`role.${meter.channels[name]?.role ?? "load"}`);
    return series ? [{ id: name, name: label, series, fine: fine[name] ?? null, color: token(COLORS[n] ?? "muted") }] : [];
  });
  if (compare && before.data && names[0]) {
    lines.push({ id: "before", name: t("history.before"), series: before.data, color: token("muted"), dashed: true, shiftMs: frame.from - frame.before.from });
  }
  const refine = useRefine(meter, lines, frame, view, setFine);
  return (
    <Shown query={first}>
      {() => <LineCard key={frame.from} meter={meter} frame={frame} view={view} lines={lines} refine={refine} />}
    </Shown>
  );
}

/** Fetch what was zoomed into again, finer, until single readings are reached. */
function useRefine(meter: Meter, lines: readonly Line[], frame: Frame, view: View, set: (fine: Record<string, Series>) => void): (from: number, to: number) => void {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  return (from, to) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      const whole = to - from > (frame.to - frame.from) * 0.7;
      const wanted = lines.filter((line) => !line.dashed && line.series.resolution !== "raw");
      if (whole || wanted.length === 0) {
        set({});
        return;
      }
      const fields = view === "voltage" ? "v,v_min,v_max" : view === "pf" ? "pf" : "p,p_min,p_max";
      void Promise.all(wanted.map(async (line) => [line.id, await get<Series>(`meters/${meter.id}/series`, {
        channel: line.id, fields, start: Math.round(from), end: Math.round(to), points: 1500,
      })] as const)).then((answers) => set(Object.fromEntries(answers))).catch(() => undefined);
    }, 250);
  };
}

interface LineCardProps { meter: Meter; frame: Frame; view: View; lines: Line[]; refine: (from: number, to: number) => void }

function LineCard({ meter, frame, view, lines, refine }: LineCardProps) {
  const [table, setTable] = useState(false);
  const chart = useRef<ChartHandle>(null);
  const [shown, setShown] = useState({ from: frame.from, to: frame.to });
  useStore(paint);
  if (view === "energy") return null;
  const option = linesOption(view, lines, frame.from, frame.to);
  const resolution = (lines[0]?.fine ?? lines[0]?.series)?.resolution ?? "raw";
  const isEmpty = lines.every((line) => line.dashed === true || line.series.t.length === 0);
  const zoom = (factor: number): void => {
    const middle = (shown.from + shown.to) / 2;
    const half = Math.min((frame.to - frame.from) / 2, ((shown.to - shown.from) / 2) * factor);
    chart.current?.zoomTo(...wallSpan(Math.max(frame.from, middle - half), Math.min(frame.to, middle + half)));
  };
  return (
    <Card
      title={titleOf(frame)}
      actions={
        <>
          {!table && <IconButton icon="plus" label={t("history.zoom.in")} onClick={() => zoom(0.5)} />}
          {!table && <Button small tone="quiet" onClick={() => chart.current?.zoomTo(...wallSpan(frame.from, frame.to))}>{t("history.zoom.all")}</Button>}
          <Actions table={table} onTable={setTable}
            onCsv={() => saveText(fileName(meter, frame, view, "csv"), csv(lineRows(view, lines)))}
            onPng={() => save(fileName(meter, frame, view, "png"), chart.current?.png() ?? "")} />
        </>
      }
    >
      {isEmpty ? <Nothing meter={meter} span={frame.span} /> : table ? <LineTable kind={view} lines={lines} /> : (
        <Suspense fallback={<div className="chart chart-tall"><Waiting /></div>}>
          <Chart
            option={option} label={titleOf(frame)} handle={chart} className="chart-tall"
            onZoom={(from, to) => {
              const span = { from: fromWall(from), to: fromWall(to) };
              setShown(span);
              refine(span.from, span.to);
            }}
          />
        </Suspense>
      )}
      <Legend items={lines.map((line, n) => [line.dashed ? "muted" : (COLORS[n] ?? "muted"), line.name] as const)} />
      {!isEmpty && <p className="hint">{t("history.resolution", { step: t(`history.${resolution}`) })} {t("history.zoom")}</p>}
    </Card>
  );
}

function wallSpan(from: number, to: number): [number, number] {
  return [toWall(from), toWall(to)];
}

function Legend({ items }: { items: readonly (readonly [string, string])[] }) {
  return (
    <ul className="legend">
      {items.map(([color, name]) => <li key={name}><span className={`swatch swatch-${color}`} />{name}</li>)}
    </ul>
  );
}

function Nothing({ meter, span }: { meter: Meter; span: Span }) {
  const newest = meter.last?.t;
  return (
    <Empty icon="history" title={t("history.none")}>
      {newest !== undefined && <Button onClick={() => ask({ at: String(startOf(newest, span)) })}>{t("history.newest")}</Button>}
    </Empty>
  );
}

function Actions({ table, onTable, onCsv, onPng }: { table: boolean; onTable: (on: boolean) => void; onCsv: () => void; onPng: () => void }) {
  return (
    <>
      <IconButton icon="table" label={t(table ? "history.chart" : "history.table")} aria-pressed={table} onClick={() => onTable(!table)} />
      <IconButton icon="download" label={t("history.csv")} onClick={onCsv} />
      <IconButton icon="image" label={t("history.png")} disabled={table} onClick={onPng} />
    </>
  );
}
