/** Alerts: what needs somebody now, what is being waited for, and what was. */

import { useState } from "react";
import { live, now, resets, skew } from "@/api/live";
import { useQuery } from "@/api/query";
import { all } from "@/api/client";
import type { Alert, AlertState, Mute, Page as Paged } from "@/api/types";
import { send } from "@/api/client";
import { useMay } from "@/api/session";
import { t } from "@/i18n";
import { ago, moment, when } from "@/lib/format";
import { bySeverity } from "@/lib/house";
import { ask, usePlace } from "@/lib/router";
import { useStore } from "@/lib/store";
import { AlertDetail } from "@/pages/alerts/AlertDetail";
import { kindName, placeOf, SeverityBadge } from "@/pages/alerts/parts";
import { PushCard, RoadsCard } from "@/pages/alerts/PushCard";
import { Badge, Button, Card, Empty, Link, Page, Segmented } from "@/ui/basics";
import { attempt, Shown } from "@/ui/feedback";
import { Icon } from "@/ui/icons";

type View = AlertState | "all";
const VIEWS: readonly View[] = ["open", "acknowledged", "resolved", "all"];

export default function AlertsPage() {
  const { path, query } = usePlace();
  const id = path.split("/")[2];
  if (id) return <AlertDetail key={id} id={decodeURIComponent(id)} />;
  const state = VIEWS.find((one) => one === query.get("state")) ?? "open";
  return <Overview state={state} meter={query.get("meter")} />;
}

/** `meter`: only this one's alerts; null: everybody's. */
function Overview({ state, meter }: { state: View; meter: string | null }) {
  const alerts = Object.values(useStore(live).alerts).filter((alert) => meter === null || alert.meter === meter);
  const anew = useStore(resets);
  const open = alerts.filter((alert) => alert.state === "open");
  const counts = {
    open: open.length,
    acknowledged: alerts.filter((alert) => alert.state === "acknowledged").length,
  };
  return (
    <Page
      title={t("alerts.title")}
      actions={
        <Segmented
          label={t("alerts.filter")} value={state} onChange={(value) => ask({ state: value === "open" ? null : value })}
          choices={VIEWS.map((value) => ({
            value, label: <>{t(`alerts.${value}`)}{(value === "open" || value === "acknowledged") && counts[value] > 0 && <span className="count">{counts[value]}</span>}</>,
            name: t(`alerts.${value}`),
          }))}
        />
      }
    >
      {meter !== null && (
        <p className="row wrap"><Badge mood="info">{placeOf(meter, null)}</Badge><Button small tone="quiet" onClick={() => ask({ meter: null })}>{t("alerts.everywhere")}</Button></p>
      )}
      <Counts alerts={alerts} />
      {state === "resolved" || state === "all" ? <Fetched key={`${state} ${meter ?? ""} ${anew}`} state={state} meter={meter} /> : <AlertList alerts={alerts.filter((alert) => alert.state === state).sort(bySeverity)} state={state} />}
      <div className="columns">
        <PushCard />
        <RoadsCard />
        <Mutes />
      </div>
    </Page>
  );
}

function Counts({ alerts }: { alerts: Alert[] }) {
  const active = alerts.filter((alert) => alert.state !== "resolved");
  const items = [
    ["alerts.count.active", active.length, ""],
    ["alerts.count.critical", active.filter((alert) => alert.severity === "critical").length, "critical"],
    ["alerts.count.warning", active.filter((alert) => alert.severity === "warning").length, "warning"],
    ["alerts.count.acknowledged", active.filter((alert) => alert.state === "acknowledged").length, ""],
  ] as const;
  return (
    <dl className="tiles tiles-counts">
      {items.map(([key, count, tone]) => (
        <div key={key} className="tile">
          <dt className="tile-name">{tone && <Icon name={tone} size={16} />}{t(key)}</dt>
          <dd className={count > 0 && tone ? `tile-value tone-${tone}` : "tile-value"}>{count}</dd>
        </div>
      ))}
    </dl>
  );
}

function AlertList({ alerts, state }: { alerts: Alert[]; state: View }) {
  if (alerts.length === 0) {
    return <Card><Empty icon={state === "open" ? "check" : "clock"} title={t(`alerts.none.${state}`)} /></Card>;
  }
  return (
    <ul className="alert-list">
      {alerts.map((alert) => <li key={alert.id}><AlertItem alert={alert} /></li>)}
    </ul>
  );
}

function AlertItem({ alert }: { alert: Alert }) {
  const nowMs = useStore(now) - useStore(skew);
  const mayAct = useMay("operator");
  const acknowledge = (): void => {
    void attempt(() => send("POST", `alerts/${alert.id}/acknowledge`), t("alerts.done.acknowledge"));
  };
  return (
    <article className={`alert-card alert-card-${alert.state === "resolved" ? "past" : alert.severity}`} aria-label={alert.title}>
      <Icon name={alert.severity} size={24} />
      <div className="grow stack-small">
        <div className="row wrap">
          <h2><Link to={`/alerts/${alert.id}`} className="cover">{alert.title}</Link></h2>
          <SeverityBadge alert={alert} />
          {alert.muted === true && <Badge mood="silent">{t("alerts.muted")}</Badge>}
          {alert.snoozed_until !== null && alert.snoozed_until > nowMs && <Badge mood="info">{t("alerts.snoozed", { time: moment(alert.snoozed_until, nowMs) })}</Badge>}
        </div>
        <p>{alert.detail}</p>
        <p className="muted small">
          {placeOf(alert.meter, alert.channel)} · {alert.state === "resolved" ? moment(alert.opened, nowMs) : `${moment(alert.opened, nowMs)} (${ago(alert.opened, nowMs)})`}
        </p>
      </div>
      {mayAct && alert.state === "open" && <Button small className="above" onClick={acknowledge}>{t("alerts.act.acknowledge")}</Button>}
    </article>
  );
}

/** What the gateway lists page by page, each alert as the stream told it last. */
function Fetched({ state, meter }: { state: "resolved" | "all"; meter: string | null }) {
  const followed = useStore(live).alerts;
  const first = useQuery<Paged<Alert>>("alerts", { params: { state, limit: 50, meter }, everyMs: 30_000 });
  const [more, setMore] = useState<Alert[] | null>(null);
  const loadMore = (): void => {
    void attempt(async () => setMore(await all<Alert>("alerts", { state, meter }, 1000)));
  };
  return (
    <Shown query={first}>
      {(page) => (
        <>
          <AlertList alerts={(more ?? page.items).map((alert) => followed[alert.id] ?? alert)} state={state} />
          {more === null && page.next !== null && <Button onClick={loadMore}>{t("act.more")}</Button>}
        </>
      )}
    </Shown>
  );
}

function Mutes() {
  const mutes = useQuery<Paged<Mute>>("mutes", { everyMs: 30_000 });
  const mayAct = useMay("operator");
  if (mutes.error?.missing || mutes.data?.items.length === 0) return null;
  const remove = async (mute: Mute): Promise<void> => {
    if (await attempt(() => send("DELETE", `mutes/${mute.id}`), t("done.removed"))) mutes.reload();
  };
  return (
    <Card title={t("alerts.mutes")}>
      <Shown query={mutes}>
        {(data) => (
          <ul className="plain-list">
            {data.items.map((mute) => (
              <li key={mute.id} className="row spread">
                <div>
                  <b>{kindName(mute.kind)}</b>
                  <p className="muted small">
                    {placeOf(mute.meter, mute.channel)} · {mute.until_ms === null ? t("alerts.mutes.forever") : t("alerts.mutes.until", { time: when(mute.until_ms) })} · {t("alerts.mutes.by", { who: mute.created_by })}
                  </p>
                </div>
                {mayAct && <Button small onClick={() => void remove(mute)}>{t("alerts.mutes.remove")}</Button>}
              </li>
            ))}
          </ul>
        )}
      </Shown>
    </Card>
  );
}
