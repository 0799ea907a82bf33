/** How alerts find people who are not looking: pushes to this device, and the other roads. */

import { useState } from "react";
import { send } from "@/api/client";
import { useQuery } from "@/api/query";
import { useMay } from "@/api/session";
import type { Page } from "@/api/types";
import { t, tIf } from "@/i18n";
import { when } from "@/lib/format";
import { useStore } from "@/lib/store";
import { obstacle, ownDevice, switchOff, switchOn, type Device, type WebConfig } from "@/push";
import { Badge, Button, Card, Dot, Link } from "@/ui/basics";
import { attempt, note, Shown } from "@/ui/feedback";

export function PushCard() {
  const devices = useQuery<Page<Device>>("devices");
  const config = useQuery<WebConfig>("cloud/web-config");
  const own = useStore(ownDevice);
  const list = devices.data?.items ?? [];
  const isOn = own !== null && list.some((device) => device.id === own);
  const remove = async (device: Device): Promise<void> => {
    const run = (): Promise<unknown> => device.id === own ? switchOff(config.data) : send("DELETE", `devices/${device.id}`);
    if (await attempt(run, t("done.removed"))) devices.reload();
  };
  return (
    <Card title={t("alerts.push")}>
      <Here config={config.data} failed={config.error !== null} isOn={isOn} onChange={devices.reload} />
      {list.length > 0 && (
        <ul className="plain-list" aria-label={t("alerts.push.devices")}>
          {list.map((device) => (
            <li key={device.id} className="row spread">
              <span>
                {device.name || device.platform} {device.id === own && <Badge mood="info">{t("alerts.push.this")}</Badge>}
                <br /><span className="muted small">{t("alerts.push.since", { date: when(device.created, "date") })}</span>
              </span>
              <Button small onClick={() => void remove(device)}>{t("act.delete")}</Button>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

interface HereProps { config: WebConfig | undefined; failed: boolean; isOn: boolean; onChange: () => void }

function Here({ config, failed, isOn, onChange }: HereProps) {
  const [busy, setBusy] = useState(false);
  const inTheWay = obstacle();
  if (inTheWay !== null) {
    return (
      <p className="muted small">
        {t(`alerts.push.${inTheWay}`)} {inTheWay === "insecure" && <Link to="/trust">{t("insecure.link")}</Link>}
      </p>
    );
  }
  if (!config) return <p className="muted small">{failed ? t("alerts.push.notset") : t("act.loading")}</p>;
  const change = async (): Promise<void> => {
    setBusy(true);
    try {
      if (isOn) await switchOff(config);
      else if (!(await switchOn(config))) note(t("alerts.push.denied"), true);
    } catch (error) {
      note(t("alerts.push.failed", { error: error instanceof Error ? error.message : "" }), true);
    }
    setBusy(false);
    onChange();
  };
  return (
    <div className="row wrap spread">
      <p className={isOn ? "all-well" : "muted"}>{t(isOn ? "alerts.push.is" : "alerts.push.isnt")}</p>
      <Button tone={isOn ? "plain" : "primary"} disabled={busy} onClick={() => void change()}>{t(isOn ? "alerts.push.off" : "alerts.push.on")}</Button>
    </div>
  );
}

interface Road { kind: string; targets: number; trouble: string | null }
interface Roads { items: Road[]; waiting: number; next: null }
interface Tested { items: { kind: string; result: string; reason: string }[] }

/** ntfy, e-mail, messengers and phones: which the gateway uses, and whether they work. */
export function RoadsCard() {
  const roads = useQuery<Roads>("notifications", { everyMs: 30_000 });
  const isAdmin = useMay("admin");
  const [busy, setBusy] = useState(false);
  const test = async (): Promise<void> => {
    setBusy(true);
    await attempt(async () => {
      const { items } = await send<Tested>("POST", "notifications/test");
      const failed = items.filter((item) => item.result !== "sent");
      if (failed.length === 0) note(t("roads.tested", { n: items.length }));
      for (const one of failed) note(t("roads.failed", { kind: nameOf(one.kind), reason: one.reason || one.result }), true);
    });
    setBusy(false);
    roads.reload();
  };
  const some = roads.data !== undefined && roads.data.items.length > 0;
  return (
    <Card title={t("roads.title")} actions={isAdmin && some && <Button small disabled={busy} onClick={() => void test()}>{t("roads.test")}</Button>}>
      <Shown query={roads}>
        {(data) => data.items.length === 0 ? <p className="muted small">{t("roads.none")}</p> : (
          <ul className="plain-list">
            {data.items.map((road) => (
              <li key={road.kind}>
                <span className="row spread">
                  <span className="row"><Dot mood={road.trouble === null ? "ok" : "warning"} />{nameOf(road.kind)}</span>
                  <span className="muted small">{t("roads.targets", { n: road.targets })}</span>
                </span>
                {road.trouble !== null && <p className="field-error">{road.trouble}</p>}
              </li>
            ))}
            {data.waiting > 0 && <li className="muted small">{t("roads.waiting", { n: data.waiting })}</li>}
          </ul>
        )}
      </Shown>
    </Card>
  );
}

function nameOf(kind: string): string {
  return tIf(`road.${kind}`, kind);
}
