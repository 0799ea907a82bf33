/** All meters, and one of them in full. */

import { live, now, skew } from "@/api/live";
import type { Meter } from "@/api/types";
import { t } from "@/i18n";
import { ago, NONE, number, power } from "@/lib/format";
import { meterName } from "@/lib/house";
import { usePlace } from "@/lib/router";
import { useStore } from "@/lib/store";
import { MeterDetail } from "@/pages/meters/MeterDetail";
import { healthOf, mainWatts } from "@/pages/now/MeterRow";
import { Badge, Card, Dot, Empty, Link, Page } from "@/ui/basics";
import { Waiting } from "@/ui/feedback";
import { Icon } from "@/ui/icons";

export default function MetersPage() {
  const { meters, loaded } = useStore(live);
  const { path } = usePlace();
  if (!loaded) return <Waiting />;
  const id = path.split("/")[2];
  const meter = id === undefined ? undefined : meters[decodeURIComponent(id)];
  if (meter) {
    return (
      <>
        <Link to="/meters" className="back"><Icon name="left" size={18} />{t("meters.back")}</Link>
        <MeterDetail key={meter.id} meter={meter} />
      </>
    );
  }
  const list = Object.values(meters).sort((a, b) => Number(a.recorded) - Number(b.recorded) || a.id.localeCompare(b.id));
  return (
    <Page title={t("meters.title")}>
      {list.length === 0 ? (
        <Card><Empty icon="meters" title={t("meters.none")}><p>{t("meters.none.hint")}</p></Empty></Card>
      ) : (
        <ul className="meter-grid">{list.map((one) => <li key={one.id}><MeterCard meter={one} /></li>)}</ul>
      )}
    </Page>
  );
}

function MeterCard({ meter }: { meter: Meter }) {
  const nowMs = useStore(now) - useStore(skew);
  const { mood, text } = healthOf(meter, nowMs);
  const { value, unit } = power(mainWatts(meter));
  const isOld = !meter.recorded && mood !== "ok";
  const open = Object.values(useStore(live).alerts).filter((alert) => alert.meter === meter.id && alert.state !== "resolved");
  return (
    <article className="card meter-card">
      <header className="row spread">
        <h2 className="row"><Dot mood={mood} /><Link to={`/meters/${meter.id}`} className="cover">{meterName(meter)}</Link></h2>
        <span className="row">
          {open.length > 0 && <Badge mood={open.some((alert) => alert.severity === "critical") ? "critical" : "warning"}>{open.length}</Badge>}
          <span className={isOld ? "fresh-note fresh-note-old" : "fresh-note"}>{text}</span>
        </span>
      </header>
      <p className={isOld ? "meter-power aged" : "meter-power"}>{value}{value !== NONE && <small>{unit}</small>}</p>
      <p className="muted small">
        {[
          meter.last?.v !== null && meter.last && `${number(meter.last.v, 1)} V`,
          meter.last?.f !== null && meter.last && `${number(meter.last.f, 2)} Hz`,
          meter.last ? ago(meter.last.t, nowMs) : t("fresh.none"),
        ].filter(Boolean).join(" · ")}
      </p>
      <div className="row wrap">
        {Object.entries(meter.channels).map(([name, info]) => (
          <Badge key={name} mood={info.role === "grid" ? "info" : info.role === "solar" ? "warning" : "silent"}>
            {info.role === "load" ? name : t(`role.${info.role}`)}
          </Badge>
        ))}
      </div>
    </article>
  );
}
