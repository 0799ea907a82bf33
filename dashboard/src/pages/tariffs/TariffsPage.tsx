/** Prices: plans by date, and what last month cost with them. */

import { useState } from "react";
import { send } from "@/api/client";
import { live, now } from "@/api/live";
import { useQuery } from "@/api/query";
import { useMay } from "@/api/session";
import type { Energy, Meter, Page as Paged, Tariff } from "@/api/types";
import { locale, t } from "@/i18n";
import { money, NONE, when } from "@/lib/format";
import { totalsOf } from "@/lib/house";
import { useStore } from "@/lib/store";
import { startOf, step, toWall } from "@/lib/zone";
import { PlanDialog } from "@/pages/tariffs/PlanDialog";
import { fresh, inOrder, isFlat } from "@/pages/tariffs/plans";
import { WeekPicture } from "@/pages/tariffs/WeekPicture";
import { Badge, Button, Card, Empty, Facts, IconButton, Page } from "@/ui/basics";
import { Confirm, Shown } from "@/ui/feedback";

const today = (): string => new Date(toWall(Date.now())).toISOString().slice(0, 10);

export default function TariffsPage() {
  const plans = useQuery<Paged<Tariff>>("tariffs");
  const mayEdit = useMay("operator");
  const [editing, setEditing] = useState<Partial<Tariff> | null>(null);
  const newest = plans.data ? inOrder(plans.data.items)[0]?.plan : undefined;
  const add = (): void => setEditing(fresh(newest, today()));
  return (
    <Page title={t("tariffs.title")} lead={t("tariffs.lead")} actions={mayEdit && plans.data && plans.data.items.length > 0 && <Button tone="primary" icon="plus" onClick={add}>{t("tariffs.add")}</Button>}>
      <Shown query={plans}>
        {(data) => data.items.length === 0 ? (
          <Card>
            <Empty icon="tariff" title={t("tariffs.none")}>
              <p>{t("tariffs.none.hint")}</p>
              {mayEdit && <Button tone="primary" onClick={add}>{t("tariffs.add")}</Button>}
            </Empty>
          </Card>
        ) : (
          <>
            <LastMonth plans={data.items} />
            <div className="columns">
              {inOrder(data.items).map(({ plan, until }) => <Plan key={plan.id} plan={plan} until={until} mayEdit={mayEdit} onEdit={() => setEditing(plan)} onChange={plans.reload} />)}
            </div>
          </>
        )}
      </Shown>
      {editing && (
        <PlanDialog
          plan={editing} onClose={() => setEditing(null)}
          onSaved={() => {
            setEditing(null);
            plans.reload();
          }}
        />
      )}
    </Page>
  );
}

/** What the month before cost, meter by meter: it changes as soon as a plan does. */
function LastMonth({ plans }: { plans: Tariff[] }) {
  const { meters } = useStore(live);
  const paying = Object.values(meters).filter((meter) => Object.values(meter.channels).some((channel) => channel.role === "grid"));
  const end = startOf(useStore(now), "month");
  const stamp = JSON.stringify(plans).length + plans.reduce((sum, plan) => sum + plan.import.reduce((all, entry) => all + entry.price_per_kwh, 0), 0);
  return (
    <Card title={t("tariffs.lastmonth")}>
      <dl className="facts" aria-label={t("tariffs.lastmonth")}>
        {paying.map((meter) => <MonthRow key={`${meter.id}/${stamp}`} meter={meter} from={step(end, "month", -1)} to={end} />)}
      </dl>
    </Card>
  );
}

function MonthRow({ meter, from, to }: { meter: Meter; from: number; to: number }) {
  const energy = useQuery<Energy>(`meters/${meter.id}/energy`, { params: { start: from, end: to, by: "month" } });
  const totals = energy.data ? totalsOf([{ meter, energy: energy.data }]) : null;
  return (
    <div>
      <dt>{meter.label || meter.id} · {when(from, "month")}</dt>
      <dd>{!totals ? NONE : totals.cost === null ? <span className="muted">{t("tariffs.nothing")}</span> : money(totals.cost, totals.currency)}</dd>
    </div>
  );
}

/** A plan's day as people write it. */
function dateOf(day: string): string {
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: "UTC" }).format(Date.parse(day));
}

interface PlanProps { plan: Tariff; until: string | null; mayEdit: boolean; onEdit: () => void; onChange: () => void }

function Plan({ plan, until, mayEdit, onEdit, onChange }: PlanProps) {
  const [asking, setAsking] = useState(false);
  const day = today();
  const single = isFlat(plan.import);
  const time = plan.valid_from > day ? "future" : until !== null && until <= day ? "past" : "now";
  const price = (value: number): string => new Intl.NumberFormat(locale, { style: "currency", currency: plan.currency, maximumFractionDigits: 4 }).format(value);
  return (
    <Card
      title={<span className="row">{plan.name} <Badge mood={time === "now" ? "ok" : time === "future" ? "info" : "silent"}>{t(`tariffs.${time}`)}</Badge></span>}
      actions={mayEdit && (
        <>
          <IconButton icon="edit" label={`${t("act.edit")}: ${plan.name}`} onClick={onEdit} />
          <IconButton icon="trash" label={`${t("act.delete")}: ${plan.name}`} onClick={() => setAsking(true)} />
        </>
      )}
    >
      <p className="muted small">{until === null ? t("tariffs.from.date", { date: dateOf(plan.valid_from) }) : t("tariffs.until", { from: dateOf(plan.valid_from), to: dateOf(until) })}</p>
      {!single && <WeekPicture entries={plan.import} price={price} />}
      <Facts items={[
        ...(single ? [[t("tariffs.price"), price(plan.import[0]?.price_per_kwh ?? 0)] as const] : []),
        [t("tariffs.feedin"), price(plan.feed_in_per_kwh)],
        [t("tariffs.standing"), price(plan.standing_per_day)],
      ]} />
      {asking && (
        <Confirm
          title={t("tariffs.remove")} text={t("tariffs.remove.text", { name: plan.name })} act={t("act.delete")} done={t("done.removed")}
          run={() => send("DELETE", `tariffs/${plan.id}`)}
          onDone={() => {
            setAsking(false);
            onChange();
          }}
        />
      )}
    </Card>
  );
}
