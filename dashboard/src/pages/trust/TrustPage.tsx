/** How a device comes to trust this site; open to everybody, for it comes before the login. */

import { useState } from "react";
import { useQuery } from "@/api/query";
import type { Trust } from "@/api/types";
import { t, type Key } from "@/i18n";
import { when } from "@/lib/format";
import { Badge, Card, Facts, Link, Page, Segmented } from "@/ui/basics";
import { Shown } from "@/ui/feedback";
import { Icon } from "@/ui/icons";
import { isSecure } from "@/worker";

const SYSTEMS = ["ios", "android", "windows", "macos", "linux", "firefox"] as const;
type System = (typeof SYSTEMS)[number];
const STEPS = [1, 2, 3, 4] as const;

function guess(): System {
  const agent = navigator.userAgent;
  if (/iPhone|iPad/.test(agent)) return "ios";
  if (agent.includes("Android")) return "android";
  if (agent.includes("Firefox")) return "firefox";
  if (agent.includes("Mac OS")) return "macos";
  return agent.includes("Windows") ? "windows" : "linux";
}

export default function TrustPage() {
  const trust = useQuery<Trust>("trust");
  return (
    <div className="page trust">
      <Link to="/" className="back"><Icon name="left" size={18} />{t("trust.back")}</Link>
      <Page title={t("trust.title")} lead={t("trust.lead")}>
        <p className={isSecure ? "overall overall-ok" : "overall"}><Icon name={isSecure ? "check" : "lock"} />{t(!isSecure ? "trust.insecure" : location.protocol === "https:" ? "trust.secure" : "trust.here")}</p>
        <Shown query={trust} what={t("trust.none")}>{(data) => (data.available ? <Steps trust={data} /> : <Card><p>{t("trust.none")}</p></Card>)}</Shown>
        <Have />
      </Page>
    </div>
  );
}

function Steps({ trust }: { trust: Trust }) {
  const [system, setSystem] = useState<System>(guess);
  const name = trust.name ?? "";
  return (
    <>
      <Card title={t("trust.step1")}>
        <div className="trust-get">
          <div className="stack-small">
            <div className="row"><a className="button button-primary" href={trust.ca_url ?? "/trust/ca.crt"} download><Icon name="download" size={18} />{t("trust.download")}</a></div>
            <p className="muted small">{t("trust.fingerprint")}</p>
            <code className="mono secret">{trust.fingerprint_sha256}</code>
            {trust.not_after_ms !== null && <p className="muted small">{t("trust.valid", { date: when(trust.not_after_ms, "date") })}</p>}
          </div>
          <figure className="qr">
            <img src="/trust/qr.svg" alt={t("trust.qr")} width="168" height="168" />
            <figcaption className="muted small">{t("trust.qr")}</figcaption>
          </figure>
        </div>
      </Card>
      <Card title={t("trust.step2")}>
        <Segmented label={t("trust.system")} value={system} onChange={setSystem} choices={SYSTEMS.map((value) => ({ value, label: t(`trust.${value}`) }))} />
        <ol className="steps">
          {STEPS.map((n) => <li key={n}>{t(`trust.${system}.${n}` as Key, { name })}</li>)}
        </ol>
      </Card>
      {trust.https_url !== null && (
        <Card title={t("trust.step3")}>
          <p><a href={trust.https_url} className="secure-url">{trust.https_url}</a></p>
        </Card>
      )}
    </>
  );
}

/** What this browser has of the app here, said plainly. */
function Have() {
  const worker = isSecure && "serviceWorker" in navigator;
  const said = (has: boolean) => <Badge mood={has ? "ok" : "silent"}>{t(has ? "trust.yes" : "trust.no")}</Badge>;
  return (
    <Card title={t("trust.missing")}>
      <Facts items={[
        [t("trust.have.secure"), said(location.protocol === "https:")],
        [t("trust.have.worker"), said(worker)],
        [t("trust.have.install"), said(worker)],
        [t("trust.have.push"), said(isSecure && "PushManager" in window)],
      ]} />
    </Card>
  );
}
