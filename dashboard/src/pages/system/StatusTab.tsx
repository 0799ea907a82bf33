/** How the gateway is: services, space, models, backup. */

import { useQuery } from "@/api/query";
import { urlOf } from "@/api/client";
import { useMay } from "@/api/session";
import type { Status } from "@/api/types";
import { t, tIf } from "@/i18n";
import { bytes, duration, number } from "@/lib/format";
import { useStore } from "@/lib/store";
import { DAY_MS } from "@/lib/zone";
import { ModelsCard } from "@/pages/system/ModelsCard";
import { OwnPassword } from "@/pages/system/OwnPassword";
import { Badge, Button, Card, Dot, Facts, Link } from "@/ui/basics";
import { Shown } from "@/ui/feedback";
import { Icon } from "@/ui/icons";
import { installOffer } from "@/worker";

const EVERY_MS = 5000;

export function StatusTab() {
  const status = useQuery<Status>("status", { everyMs: EVERY_MS });
  return (
    <Shown query={status}>
      {(data) => (
        <>
          <Overall status={data} />
          <div className="columns">
            <Numbers status={data} />
            <div className="stack"><Services status={data} /><Refused status={data} /></div>
            <div className="stack"><Install /><OwnPassword /><Backup /></div>
          </div>
          <ModelsCard />
        </>
      )}
    </Shown>
  );
}

function Overall({ status }: { status: Status }) {
  const bad = Object.values(status.services).filter((service) => service.state !== "running").length;
  return (
    <p className={bad === 0 ? "overall overall-ok" : "overall overall-bad"} role="status">
      <Icon name={bad === 0 ? "check" : "warning"} />
      {bad === 0 ? t("system.ok") : t("system.notok", { n: bad })}
    </p>
  );
}

function Numbers({ status }: { status: Status }) {
  const { disk, backlog } = status;
  return (
    <Card title={t("system.status")}>
      <Facts items={[
        [t("system.version"), status.version],
        [t("system.uptime"), duration(status.uptime)],
        [t("system.backlog.ingest"), number(backlog.ingest)],
        [t("system.backlog.judge"), number(backlog.judge)],
        [t("system.backlog.cloud"), number(backlog.cloud)],
        [t("system.offline"), status.offline_days_left === null ? t("system.offline.unknown") : duration(status.offline_days_left * DAY_MS)],
        [t("system.disk"), <span key="disk">{t("system.disk.used", { used: bytes(disk.used_bytes), allowed: bytes(disk.allowed_bytes) })}<br /><span className="muted small">{t("system.disk.free", { free: bytes(disk.free_bytes) })}</span></span>],
        [t("system.clock"), <Badge key="clock" mood={status.clock.trusted ? "ok" : "warning"}>{t(status.clock.trusted ? "system.clock.ok" : "system.clock.no")}</Badge>],
      ]} />
    </Card>
  );
}

/** What has trouble stands there; what runs is named for those who ask. */
function Services({ status }: { status: Status }) {
  const all = Object.entries(status.services);
  const bad = all.filter(([, service]) => service.state !== "running");
  const good = all.filter(([, service]) => service.state === "running");
  return (
    <Card title={t("system.services")}>
      {bad.length > 0 && <ul className="plain-list services">{bad.map(([name, service]) => <Service key={name} name={name} service={service} />)}</ul>}
      <details className="more">
        <summary>{t("system.services.run", { n: good.length })}</summary>
        <ul className="plain-list services">{good.map(([name, service]) => <Service key={name} name={name} service={service} />)}</ul>
      </details>
    </Card>
  );
}

function Service({ name, service }: { name: string; service: Status["services"][string] }) {
  return (
    <li>
      <span className="row spread">
        <span className="row"><Dot mood={service.state === "running" ? "ok" : "warning"} />{tIf(`service.${name}`, name)}</span>
        <span className="muted small">{tIf(`system.state.${service.state}`, service.state)}{service.retries > 0 && ` · ${t("system.retries", { n: service.retries })}`}</span>
      </span>
      {service.error && <p className="field-error">{service.error}</p>}
    </li>
  );
}

function Refused({ status }: { status: Status }) {
  const found = Object.entries(status.dead_letters).filter(([, count]) => count > 0);
  return (
    <Card title={t("system.dead")}>
      {found.length === 0 ? <p className="muted">{t("system.dead.none")}</p> : <Facts items={found.map(([reason, count]) => [reason.replaceAll("_", " "), number(count)] as const)} />}
    </Card>
  );
}

function Install() {
  const offer = useStore(installOffer);
  return (
    <Card title={t("system.trust")}>
      <p className="muted">{t("system.trust.text")}</p>
      <div className="row wrap">
        {offer && <Button tone="primary" icon="phone" onClick={() => void offer.prompt()}>{t("system.install")}</Button>}
        <Link to="/trust" className="button">{t("system.trust.go")}</Link>
      </div>
    </Card>
  );
}

function Backup() {
  const isAdmin = useMay("admin");
  if (!isAdmin) return null;
  return (
    <Card title={t("system.backup")}>
      <p className="muted">{t("system.backup.text")}</p>
      <div className="row"><a className="button" href={urlOf("system/backup")} download><Icon name="download" size={18} />{t("system.backup.go")}</a></div>
    </Card>
  );
}
