/** A meter's newest calibration: who made it, against what, and how sure it is. */

import { useQuery } from "@/api/query";
import type { Calibration, Meter } from "@/api/types";
import { t, tIf } from "@/i18n";
import { ago, number, when } from "@/lib/format";
import { Badge, Card, Facts } from "@/ui/basics";
import { Shown } from "@/ui/feedback";

const USUAL_W = 1000; // what people ask for: how sure is a kilowatt

export function CalibrationCard({ meter, nowMs }: { meter: Meter; nowMs: number }) {
  const query = useQuery<Calibration>(`meters/${meter.id}/calibration`);
  return (
    <Card title={t("meters.cal")}>
      {query.error?.missing ? <p className="muted">{t(meter.versions.cal ? "meters.cal.elsewhere" : "meters.cal.none")}</p> : (
        <Shown query={query}>{(cal) => <Made cal={cal} meter={meter} nowMs={nowMs} />}</Shown>
      )}
    </Card>
  );
}

function Made({ cal, meter, nowMs }: { cal: Calibration; meter: Meter; nowMs: number }) {
  if (cal.reference === null) return <p className="muted">{t("meters.cal.none")}</p>;
  const passed = cal.checks.filter((check) => check.passed).length;
  const usual = cal.loads.filter((load) => load.p === USUAL_W && load.factor === 1);
  return (
    <>
      <Facts items={[
        [t("meters.cal.version"), <span key="version" className="row">{t("meters.version", { n: cal.version })}<Badge mood={cal.state === "running" ? "ok" : "warning"}>{tIf(`meters.cal.state.${cal.state}`, cal.state)}</Badge></span>],
        [t("meters.cal.made"), `${when(cal.made, "date")} (${ago(cal.made, nowMs)})`],
        [t("meters.cal.by"), cal.by],
        [t("meters.cal.reference"), t("meters.cal.class", { name: cal.reference.name, share: number(cal.reference.class_pct, 1) })],
        ...usual.map((load) => [t("meters.cal.sure", { channel: load.channel }), `± ${number(load.p_pct, 2)} %`] as const),
        [t("meters.cal.checks"), cal.checks.length === 0 ? t("meters.cal.unchecked") : t("meters.cal.passed", { passed, all: cal.checks.length })],
      ]} />
      {cal.why !== "" && <p className="field-error">{cal.why}</p>}
      <div className="row">
        <a className="button" href={`/api/v1/meters/${meter.id}/calibration/certificate`} target="_blank" rel="noreferrer">{t("meters.certificate")}</a>
      </div>
    </>
  );
}
