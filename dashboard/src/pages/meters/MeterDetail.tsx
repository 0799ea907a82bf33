/** One meter: what it measures, how it is, and what an operator may change. */

import { useState } from "react";
import { send } from "@/api/client";
import { live, now, skew } from "@/api/live";
import { useMay } from "@/api/session";
import type { Meter } from "@/api/types";
import { t } from "@/i18n";
import { ago, bytes, duration, NONE, number, power, powerText, when } from "@/lib/format";
import { meterName } from "@/lib/house";
import { useStore } from "@/lib/store";
import { CalibrationCard } from "@/pages/meters/CalibrationCard";
import { EditMeter } from "@/pages/meters/EditMeter";
import { healthOf, mainWatts } from "@/pages/now/MeterRow";
import { Badge, Button, Card, Facts, Link, Page, Scroll } from "@/ui/basics";
import { attempt, note } from "@/ui/feedback";

interface CommandAnswer { ok: boolean; error: string | null; data: Record<string, unknown> }
const BLINK_S = 10;

export function MeterDetail({ meter }: { meter: Meter }) {
  const nowMs = useStore(now) - useStore(skew);
  const [editing, setEditing] = useState(false);
  const [report, setReport] = useState<Record<string, unknown> | null>(null);
  const mayAct = useMay("operator");
  const { mood, text } = healthOf(meter, nowMs);
  const old = !meter.recorded && mood !== "ok";
  const command = async (kind: string, args: object, done: string): Promise<void> => {
    await attempt(async () => {
      const answer = await send<CommandAnswer>("POST", `meters/${meter.id}/commands`, { kind, args });
      if (answer.ok) note(done);
      else note(t("meters.command.failed", { error: answer.error ?? "" }), true);
      if (kind === "report" && answer.ok) setReport(answer.data);
    });
  };
  return (
    <Page
      title={meterName(meter)}
      lead={meter.recorded ? t("meters.recorded") : meterName(meter) === meter.id ? undefined : meter.id}
      actions={mayAct && (
        <>
          {!meter.recorded && <Button icon="sun" onClick={() => void command("identify", { seconds: BLINK_S }, t("meters.identify.done"))}>{t("meters.identify")}</Button>}
          <Button icon="edit" onClick={() => setEditing(true)}>{t("meters.edit")}</Button>
        </>
      )}
    >
      <Head meter={meter} old={old} text={text} mood={mood} nowMs={nowMs} />
      <OpenAlerts meter={meter} />
      <Channels meter={meter} old={old} />
      <div className="columns">
        <Diagnostics meter={meter} nowMs={nowMs} onReport={mayAct && !meter.recorded ? () => void command("report", {}, t("meters.report.done")) : undefined} />
        {!meter.recorded && <CalibrationCard meter={meter} nowMs={nowMs} />}
        {report && <Card title={t("meters.raw")}><Facts items={Object.entries(report).map(([name, value]) => [name, typeof value === "string" || typeof value === "number" ? String(value) : JSON.stringify(value)] as const)} /></Card>}
      </div>
      {editing && <EditMeter meter={meter} onClose={() => setEditing(false)} />}
    </Page>
  );
}

interface HeadProps { meter: Meter; old: boolean; text: string; mood: Parameters<typeof Badge>[0]["mood"]; nowMs: number }

function Head({ meter, old, text, mood, nowMs }: HeadProps) {
  const { value, unit } = power(mainWatts(meter));
  return (
    <dl className={old ? "tiles aged" : "tiles"}>
      <div className="tile"><dt className="tile-name">{t("meters.power")}</dt><dd className="tile-value">{value}<small>{unit}</small></dd></div>
      <div className="tile"><dt className="tile-name">{t("meters.voltage")}</dt><dd className="tile-value">{number(meter.last?.v, 1)}<small>{"V"}</small></dd></div>
      <div className="tile"><dt className="tile-name">{t("meters.frequency")}</dt><dd className="tile-value">{number(meter.last?.f, 2)}<small>{"Hz"}</small></dd></div>
      <div className="tile">
        <dt className="tile-name">{t("meters.last")}</dt>
        <dd><Badge mood={mood}>{text}</Badge></dd>
        <dd className="tile-note">{meter.last ? ago(meter.last.t, nowMs) : t("fresh.none")}</dd>
      </div>
    </dl>
  );
}

function OpenAlerts({ meter }: { meter: Meter }) {
  const open = Object.values(useStore(live).alerts).filter((alert) => alert.meter === meter.id && alert.state !== "resolved");
  return open.map((alert) => (
    <Link key={alert.id} to={`/alerts/${alert.id}`} className={`alert-head alert-card-${alert.severity} plain-link`}>
      <span><b>{alert.title}</b> <span className="muted">{alert.detail}</span></span>
    </Link>
  ));
}

function Channels({ meter, old }: { meter: Meter; old: boolean }) {
  return (
    <Card title={t("meters.channels")} actions={<Link to={`/history?meter=${meter.id}`} className="small">{t("nav.history")}</Link>}>
      <Scroll>
        <table className={old ? "table aged" : "table"}>
          <thead>
            <tr>
              <th scope="col">{t("meters.channel")}</th>
              <th scope="col">{t("meters.role")}</th>
              <th scope="col" className="num">{t("meters.power")}</th>
              <th scope="col" className="num">{t("meters.current")}</th>
              <th scope="col" className="num">{t("meters.pf")}</th>
              <th scope="col" className="num">{t("meters.register.in")}</th>
              <th scope="col" className="num">{t("meters.register.out")}</th>
              <th scope="col" className="num">{t("meters.rating")}</th>
            </tr>
          </thead>
          <tbody>
            {Object.entries(meter.channels).map(([name, info]) => {
              const values = meter.last?.ch[name];
              return (
                <tr key={name}>
                  <td><b>{name}</b></td>
                  <td>{t(`role.${info.role}`)}</td>
                  <td className="num">{powerText(values?.p)}</td>
                  <td className="num">{values?.i === null || !values ? NONE : `${number(values.i, 2)} A`}</td>
                  <td className="num">{number(powerFactor(meter, name), 2)}</td>
                  <td className="num">{values?.wh_in === null || !values ? NONE : `${number(values.wh_in / 1000, 1)} kWh`}</td>
                  <td className="num">{values?.wh_out === null || !values ? NONE : `${number(values.wh_out / 1000, 1)} kWh`}</td>
                  <td className="num">{info.rating_a === null ? t("meters.rating.none") : `${number(info.rating_a)} A`}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </Scroll>
    </Card>
  );
}

export function powerFactor(meter: Meter, channel: string): number | null {
  const values = meter.last?.ch[channel];
  const volts = values?.v ?? meter.last?.v ?? null;
  if (!values || values.p === null || values.i === null || volts === null || volts * values.i < 1) return null;
  return Math.min(1, Math.abs(values.p) / (volts * values.i));
}

function signal(dbm: number | null | undefined): string {
  if (dbm === null || dbm === undefined) return NONE;
  const word = dbm > -65 ? t("meters.signal.good") : dbm > -78 ? t("meters.signal.fair") : t("meters.signal.weak");
  return `${number(dbm)} dBm · ${word}`;
}

function Diagnostics({ meter, nowMs, onReport }: { meter: Meter; nowMs: number; onReport: (() => void) | undefined }) {
  const d = meter.diagnostics;
  const version = (value: number | null): string => (value === null || value === 0 ? NONE : t("meters.version", { n: value }));
  const told: [string, string][] = d ? [
    [t("meters.signal"), signal(d.rssi_dbm)],
    [t("meters.heap"), bytes(d.heap_bytes)],
    [t("meters.backlog"), d.backlog === null ? NONE : t("meters.backlog.n", { n: d.backlog })],
    [t("meters.up"), d.up_ms === null ? NONE : duration(d.up_ms)],
    [t("meters.restarts"), d.starts === null ? NONE : t("meters.restarts.n", { n: d.starts })],
  ] : [];
  return (
    <Card title={t("meters.diagnostics")} actions={onReport && <Button small onClick={onReport}>{t("meters.report")}</Button>}>
      <Facts items={[
        [t("meters.state"), meter.recorded || meter.state_at === null ? NONE : `${t(meter.online ? "meters.online" : "meters.offline")}, ${ago(meter.state_at, nowMs)}`],
        ...told,
        [t("meters.firmware"), meter.versions.fw ?? NONE],
        [t("meters.model"), version(meter.versions.model)],
        [t("meters.cal"), version(meter.versions.cal)],
        [t("meters.registered"), when(meter.registered, "date")],
        [t("meters.flags"), meter.last?.flags.join(", ") || NONE],
      ]} />
      {d && !meter.online && !meter.recorded && <p className="muted small">{t("meters.lastknown")}</p>}
    </Card>
  );
}
