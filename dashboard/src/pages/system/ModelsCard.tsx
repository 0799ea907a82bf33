/** Which models judge, which are tried beside them, and the way back. */

import { useState } from "react";
import { send } from "@/api/client";
import { useQuery } from "@/api/query";
import { useMay } from "@/api/session";
import type { ModelInUse, Page as Paged } from "@/api/types";
import { t, tIf } from "@/i18n";
import { duration, NONE, number, when } from "@/lib/format";
import { Badge, Button, Card, Scroll, type Mood } from "@/ui/basics";
import { Confirm, Shown } from "@/ui/feedback";

const MOODS: Record<string, Mood> = { champion: "ok", shadow: "info", rejected: "critical", rolled_back: "warning" };
const ORDER = ["champion", "shadow", "waiting", "fallback", "retired", "rolled_back", "rejected"];
type Asked = { what: "rollback" | "activate"; model: ModelInUse } | null;

export function ModelsCard() {
  const models = useQuery<Paged<ModelInUse>>("models", { everyMs: 60_000 });
  const isAdmin = useMay("admin");
  const [asked, setAsked] = useState<Asked>(null);
  const close = (): void => {
    setAsked(null);
    models.reload();
  };
  return (
    <Card title={t("system.models")}>
      <Shown query={models}>
        {(data) => data.items.length === 0 ? <p className="muted">{t("system.models.none")}</p> : (
          <Scroll>
            <table className="table">
              <thead>
                <tr>
                  <th scope="col">{t("alerts.meter")}</th><th scope="col">{t("system.models.kind")}</th><th scope="col">{t("system.models.slot")}</th>
                  <th scope="col">{t("system.models.version")}</th><th scope="col">{t("system.models.since")}</th><th scope="col">{t("system.models.trial")}</th>
                  <th scope="col"><span className="unseen">{t("system.models.acts")}</span></th>
                </tr>
              </thead>
              <tbody>
                {[...data.items].sort((a, b) => ORDER.indexOf(a.slot) - ORDER.indexOf(b.slot)).map((model) => (
                  <Row key={`${model.meter}/${model.channel}/${model.kind}/${model.slot}/${model.path}`} model={model} onAsk={isAdmin ? setAsked : null} />
                ))}
              </tbody>
            </table>
          </Scroll>
        )}
      </Shown>
      {asked && (
        <Confirm
          title={t(`system.models.${asked.what}`)} act={t(`system.models.${asked.what}`)} done={t("done.saved")} onDone={close}
          text={t(`system.models.${asked.what}.text`, { model: nameOf(asked.model), place: placeOf(asked.model) })}
          run={() => send("POST", `models/${asked.what}`, asked.what === "activate" ? { path: asked.model.path, meter: asked.model.meter } : { meter: asked.model.meter, channel: asked.model.channel ?? "" })}
        />
      )}
    </Card>
  );
}

function Row({ model, onAsk }: { model: ModelInUse; onAsk: ((asked: Asked) => void) | null }) {
  const fromElsewhere = model.path !== null;
  return (
    <tr>
      <td><b>{placeOf(model)}</b><br /><span className="muted small">{tIf(`system.models.${model.where}`, model.where)}</span></td>
      <td>{tIf(`system.models.kind.${model.kind}`, model.kind)}</td>
      <td><Badge mood={MOODS[model.slot] ?? "silent"}>{tIf(`system.models.${model.slot}`, model.slot)}</Badge></td>
      <td>{model.version ?? NONE}</td>
      <td>{when(model.since_ms ?? model.fitted_ms)}</td>
      <td>
        {model.minutes ? t("system.models.seen", { time: duration(model.minutes * 60_000), n: number(model.alarms), champion: number(model.champion_alarms) }) : NONE}
        {model.why && <p className="muted small">{model.why}</p>}
      </td>
      <td className="num">
        {onAsk && fromElsewhere && model.slot === "champion" && <Button small onClick={() => onAsk({ what: "rollback", model })}>{t("system.models.rollback")}</Button>}
        {onAsk && fromElsewhere && model.slot === "shadow" && <Button small onClick={() => onAsk({ what: "activate", model })}>{t("system.models.activate")}</Button>}
      </td>
    </tr>
  );
}

function nameOf(model: ModelInUse): string {
  return `${tIf(`system.models.kind.${model.kind}`, model.kind)} ${model.version ?? ""}`.trim();
}

function placeOf(model: ModelInUse): string {
  return model.channel === null ? model.meter : `${model.meter} · ${model.channel}`;
}
