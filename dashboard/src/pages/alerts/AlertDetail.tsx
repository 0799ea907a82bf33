/** One alert: in words, on the curve, in numbers, and what people did about it. */

import { useState } from "react";
import { send } from "@/api/client";
import { live, noteAlert, now, skew } from "@/api/live";
import { useQuery } from "@/api/query";
import { useMay } from "@/api/session";
import type { Alert } from "@/api/types";
import { t, tIf } from "@/i18n";
import { duration, moment, when } from "@/lib/format";
import { useStore } from "@/lib/store";
import { startOf } from "@/lib/zone";
import { MuteDialog, SnoozeDialog } from "@/pages/alerts/dialogs";
import { Evidence } from "@/pages/alerts/Evidence";
import { beganAt, factName, factValue, placeOf, SeverityBadge } from "@/pages/alerts/parts";
import { Badge, Button, Card, Facts, Field, Link, Page } from "@/ui/basics";
import { attempt, Shown } from "@/ui/feedback";
import { Icon } from "@/ui/icons";

export function AlertDetail({ id }: { id: string }) {
  const held = useStore(live).alerts[id];
  const fetched = useQuery<Alert>(`alerts/${id}`, { enabled: held === undefined });
  return (
    <>
      <Link to="/alerts" className="back"><Icon name="left" size={18} />{t("alerts.back")}</Link>
      {held ? <Whole alert={held} /> : <Shown query={fetched}>{(alert) => <Whole alert={alert} onChange={fetched.reload} />}</Shown>}
    </>
  );
}

function Whole({ alert, onChange }: { alert: Alert; onChange?: () => void }) {
  const { meters } = useStore(live);
  const nowMs = useStore(now) - useStore(skew);
  const mayAct = useMay("operator");
  const act = async (what: string, body?: object): Promise<boolean> => {
    const told = t(what === "acknowledge" ? "alerts.done.acknowledge" : what === "resolve" ? "alerts.done.resolve" : "done.saved");
    return attempt(async () => {
      noteAlert(await send<Alert>("POST", `alerts/${alert.id}/${what}`, body));
      onChange?.();
    }, told);
  };
  const meter = alert.meter === null ? undefined : meters[alert.meter];
  const began = beganAt(alert);
  const long = duration((alert.resolved ?? nowMs) - began);
  return (
    <Page title={alert.title} actions={mayAct && <Acts alert={alert} act={act} />}>
      <div className={`alert-head alert-card-${alert.state === "resolved" ? "past" : alert.severity}`}>
        <Icon name={alert.severity} size={28} />
        <div className="stack-small grow">
          <p className="alert-words">{alert.detail}</p>
          <div className="row wrap small">
            <SeverityBadge alert={alert} />
            <Badge mood={alert.state === "resolved" ? "ok" : "info"}>{t(`alerts.state.${alert.state}`)}</Badge>
            {alert.muted === true && <Badge mood="silent">{t("alerts.muted")}</Badge>}
            <span className="muted">{placeOf(alert.meter, alert.channel)} ·</span>
            <span className="muted">
              {alert.resolved === null
                ? t("alerts.evidence.lasts", { from: moment(began, nowMs), time: long })
                : t("alerts.evidence.over", { from: moment(began, nowMs), to: moment(alert.resolved, nowMs), time: long })}
            </span>
          </div>
        </div>
      </div>
      <div className="detail">
        <Card title={t("alerts.evidence")} actions={meter && <Link className="small" to={`/history?meter=${meter.id}&span=day&view=power&at=${startOf(began, "day")}`}>{t("alerts.history.link")}</Link>}>
          {meter ? <Evidence alert={alert} meter={meter} nowMs={nowMs} /> : <p className="muted">{t("alerts.evidence.none")}</p>}
        </Card>
        <div className="stack">
          <Card title={t("alerts.facts")}>
            <Facts items={Object.entries(alert.evidence).filter(([, value]) => value !== null).map(([name, value]) => [factName(name), factValue(name, value)] as const)} />
            <p className="muted small">{t("alerts.times", { n: alert.count })}</p>
          </Card>
          {mayAct && <VerdictCard act={act} />}
          <Card title={t("alerts.timeline")}>
            <ol className="timeline">
              {alert.history.map((entry) => (
                <li key={`${entry.at}${entry.what}`}>
                  <span>{tIf(`alerts.what.${entry.what}`, entry.what)}</span>
                  <span className="muted small">{entry.who} · {when(entry.at)}</span>
                </li>
              ))}
            </ol>
          </Card>
        </div>
      </div>
    </Page>
  );
}

type Act = (what: string, body?: object) => Promise<boolean>;

function Acts({ alert, act }: { alert: Alert; act: Act }) {
  const [dialog, setDialog] = useState<"snooze" | "mute" | null>(null);
  const close = (): void => setDialog(null);
  return (
    <>
      {alert.state === "open" && <Button tone="primary" icon="check" onClick={() => void act("acknowledge")}>{t("alerts.act.acknowledge")}</Button>}
      {alert.state !== "resolved" && <Button onClick={() => void act("resolve")}>{t("alerts.act.resolve")}</Button>}
      {alert.state !== "resolved" && <Button icon="clock" onClick={() => setDialog("snooze")}>{t("alerts.act.snooze")}</Button>}
      <Button icon="mute" onClick={() => setDialog("mute")}>{t("alerts.act.mute")}</Button>
      {dialog === "snooze" && <SnoozeDialog act={act} onClose={close} />}
      {dialog === "mute" && <MuteDialog alert={alert} onClose={close} />}
    </>
  );
}

function VerdictCard({ act }: { act: Act }) {
  const [text, setText] = useState("");
  const [done, setDone] = useState(false);
  const say = (right: boolean): void => {
    void act("verdict", { right, note: text }).then(setDone);
  };
  return (
    <Card title={t("alerts.verdict")}>
      {done ? <p className="all-well"><Icon name="check" />{t("alerts.done.verdict")}</p> : (
        <>
          <Field label={t("alerts.verdict.note")} maxLength={1000} value={text} onChange={(event) => setText(event.target.value)} />
          <div className="row wrap">
            <Button icon="check" onClick={() => say(true)}>{t("alerts.verdict.yes")}</Button>
            <Button icon="close" onClick={() => say(false)}>{t("alerts.verdict.no")}</Button>
          </div>
        </>
      )}
    </Card>
  );
}
