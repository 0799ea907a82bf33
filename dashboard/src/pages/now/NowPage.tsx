/** Now: what flows, what today was so far, and whether all is well. */

import { useEffect, useState } from "react";
import { live, now, skew } from "@/api/live";
import { useQuery } from "@/api/query";
import type { Meter, SiteNode, SiteTree } from "@/api/types";
import { t } from "@/i18n";
import { ago, axisPower, powerText, when } from "@/lib/format";
import { ageOf, bySeverity, countedOf, flowOf, meterName, type Flow } from "@/lib/house";
import { useKept } from "@/lib/kept";
import { useStore } from "@/lib/store";
import { HOUR_MS } from "@/lib/zone";
import { FlowPicture } from "@/pages/now/FlowPicture";
import { MeterRow } from "@/pages/now/MeterRow";
import { TodayTiles } from "@/pages/now/TodayTiles";
import { useToday, type DayLine } from "@/pages/now/today";
import { Card, Dot, Empty, IconButton, Link, Page, Segmented, Select } from "@/ui/basics";
import { Waiting } from "@/ui/feedback";
import { Icon } from "@/ui/icons";
import { Spark } from "@/ui/Spark";

const ALL = "*";
const MOST_CHIPS = 5;
const NO_NODES: readonly SiteNode[] = [];

export function NowPage() {
  const { meters, loaded } = useStore(live);
  const nowMs = useStore(now) - useStore(skew);
  const tree = useQuery<SiteTree>("site/tree");
  const [scope, setScope] = useKept<string>("now.scope", ALL);
  const sending = Object.values(meters).filter((meter) => !meter.recorded).sort((a, b) => a.id.localeCompare(b.id));
  const chosen = sending.filter((meter) => meter.id === scope);
  const shown = chosen.length > 0 ? chosen : sending;
  const nodes = tree.data?.nodes ?? NO_NODES;
  const today = useToday(tree.loading ? [] : shown, nodes);
  if (!loaded) return <Waiting />;
  if (sending.length === 0) return <Nothing />;
  const flow = flowOf(shown, nowMs, nodes);
  return (
    <Page
      title={t("now.title")}
      actions={
        <>
          {sending.length > 1 && <Scope meters={sending} value={chosen.length > 0 ? scope : ALL} onChange={setScope} />}
          <WallButton />
        </>
      }
    >
      <div className="now">
        <FlowCard flow={flow} nowMs={nowMs} shown={shown} counted={countedOf(shown, nodes)} />
        <div className="stack">
          <TodayTiles totals={today.totals} failed={today.failed} hasSolar={flow.hasSolar} />
          <DayCard line={today.line} hasSolar={flow.hasSolar} />
        </div>
        <div className="columns now-foot">
          <Alerts />
          <Card title={t("now.meters")}>
            <ul className="meter-rows">
              {sending.map((meter) => <MeterRow key={meter.id} meter={meter} nowMs={nowMs} />)}
            </ul>
          </Card>
        </div>
      </div>
    </Page>
  );
}

function Nothing() {
  return (
    <Page title={t("now.title")}>
      <Card>
        <Empty icon="meters" title={t("now.nothing")}>
          <p>{t("now.nothing.hint")}</p>
          <Link to="/import" className="button button-primary">{t("now.nothing.import")}</Link>
        </Empty>
      </Card>
    </Page>
  );
}

function Scope({ meters, value, onChange }: { meters: Meter[]; value: string; onChange: (value: string) => void }) {
  const choices = [{ value: ALL, label: t("now.all") }, ...meters.map((meter) => ({ value: meter.id, label: meterName(meter) }))];
  if (choices.length > MOST_CHIPS) return <Select compact label={t("now.scope")} value={value} onChange={onChange} options={choices} />;
  return <Segmented label={t("now.scope")} value={value} onChange={onChange} choices={choices} />;
}

function FlowCard({ flow, nowMs, shown, counted }: { flow: Flow; nowMs: number; shown: Meter[]; counted: Meter[] }) {
  const old = flow.oldest === null;
  const aging = shown.some((meter) => ageOf(meter, nowMs) === "aging");
  const supply = counted.length === 1 ? counted[0]?.last : null;
  return (
    <Card title={t("now.flow")} className="flow-card" actions={<Freshness flow={flow} nowMs={nowMs} aging={aging} />}>
      <FlowPicture flow={flow} old={old} />
      {supply && (
        <p className="flow-supply muted small">
          {[supply.v !== null && `${t("now.voltage")} ${supply.v.toFixed(1)} V`, supply.f !== null && `${t("now.frequency")} ${supply.f.toFixed(2)} Hz`].filter(Boolean).join("  ·  ")}
        </p>
      )}
      {flow.left_out > 0 && <p className="flow-note"><Icon name="warning" size={16} />{t("now.leftout", { n: flow.left_out })}</p>}
      {flow.loads.length > 0 && <LoadBars flow={flow} />}
    </Card>
  );
}

function Freshness({ flow, nowMs, aging }: { flow: Flow; nowMs: number; aging: boolean }) {
  if (flow.oldest === null) return <span className="fresh-note fresh-note-old">{t("fresh.none")}</span>;
  return (
    <span className={aging ? "fresh-note fresh-note-old" : "fresh-note"}>
      <Dot mood={aging ? "warning" : "ok"} /> {aging ? ago(flow.oldest, nowMs) : when(flow.oldest, "seconds")}
    </span>
  );
}

function LoadBars({ flow }: { flow: Flow }) {
  const most = Math.max(1, flow.house ?? 0, ...flow.loads.map((load) => load.watts));
  const rest = flow.house !== null && flow.house > flow.known ? flow.house - flow.known : null;
  const rows = [
    ...flow.loads.map((load) => ({ key: `${load.meter}/${load.channel}`, name: `${load.meter} · ${load.channel}`, watts: load.watts })),
    ...(rest === null ? [] : [{ key: "rest", name: t("now.loads.rest"), watts: rest }]),
  ];
  return (
    <div className="loads">
      <h3>{t("now.loads")}</h3>
      <ul>
        {rows.map((row) => (
          <li key={row.key}>
            <span className="cut">{row.name}</span>
            <span className="load-bar" aria-hidden="true"><span style={{ width: `${(100 * Math.max(0, row.watts)) / most}%` }} /></span>
            <b>{powerText(row.watts)}</b>
          </li>
        ))}
      </ul>
    </div>
  );
}

function DayCard({ line, hasSolar }: { line: DayLine | null; hasSolar: boolean }) {
  if (!line) return <Card title={t("now.day")}><Waiting /></Card>;
  if (line.t.length < 2) return <Card title={t("now.day")}><p className="muted">{t("now.day.none")}</p></Card>;
  const peak = line.house.reduce<number>((best, value, n) => ((value ?? 0) > (line.house[best] ?? 0) ? n : best), 0);
  const peakText = t("now.day.peak", { value: powerText(line.house[peak]), time: when(line.t[peak], "time") });
  const labels = [0, 6, 12, 18, 24].map((h) => ({ at: line.from + h * HOUR_MS, text: when(line.from + h * HOUR_MS, "time") }));
  return (
    <Card title={t("now.day")} className="day-card" actions={<Legend hasSolar={hasSolar} />}>
      <Spark
        t={line.t} resolution="15m" from={line.from} to={line.to} labels={labels} text={peakText} scale={axisPower}
        lines={[...(hasSolar ? [{ kind: "solar" as const, values: line.solar }] : []), { kind: "home" as const, values: line.house }]}
      />
      <p className="muted small">{peakText}</p>
    </Card>
  );
}

function Legend({ hasSolar }: { hasSolar: boolean }) {
  return (
    <span className="row small muted">
      <span className="swatch swatch-home" />{t("now.day.house")}
      {hasSolar && <><span className="swatch swatch-solar" />{t("now.day.solar")}</>}
    </span>
  );
}

function Alerts() {
  const open = Object.values(useStore(live).alerts).filter((a) => a.state === "open" && a.muted !== true).sort(bySeverity);
  const nowMs = useStore(now) - useStore(skew);
  return (
    <Card title={t("now.alerts")} actions={open.length > 0 && <Link to="/alerts" className="small">{t("now.alerts.all")}</Link>}>
      {open.length === 0 ? (
        <p className="all-well"><Icon name="check" />{t("now.alerts.none")}</p>
      ) : (
        <ul className="alert-rows">
          {open.slice(0, 4).map((alert) => (
            <li key={alert.id}>
              <Link to={`/alerts/${alert.id}`} className={`alert-row alert-row-${alert.severity}`}>
                <Icon name={alert.severity} />
                <span className="grow">
                  <b>{alert.title}</b>
                  <span className="muted small cut-2">{alert.detail}</span>
                </span>
                <span className="muted small">{ago(alert.opened, nowMs)}</span>
              </Link>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

/** For a screen on the wall: nothing but the picture and the numbers, and no dimming where allowed. */
function WallButton() {
  const [on, setOn] = useState(() => document.documentElement.classList.contains("wall"));
  useEffect(() => {
    document.documentElement.classList.toggle("wall", on);
    if (!on || !("wakeLock" in navigator)) return undefined;
    const lock = navigator.wakeLock.request("screen").catch(() => null);
    return () => void lock.then((held) => held?.release());
  }, [on]);
  const label = t(on ? "now.wall.leave" : "now.wall");
  return <IconButton icon="wall" label={label} aria-pressed={on} onClick={() => setOn(!on)} />;
}
