/** System: how the gateway is, who may use it, and what it is told. */

import { useMay } from "@/api/session";
import { t } from "@/i18n";
import { usePlace } from "@/lib/router";
import { AuditTab } from "@/pages/system/AuditTab";
import { LogTab } from "@/pages/system/LogTab";
import { PeopleTab } from "@/pages/system/PeopleTab";
import { SettingsTab } from "@/pages/system/SettingsTab";
import { StatusTab } from "@/pages/system/StatusTab";
import { Link, Page } from "@/ui/basics";

const TABS = { status: StatusTab, people: PeopleTab, settings: SettingsTab, log: LogTab, audit: AuditTab } as const;
type Tab = keyof typeof TABS;
const NAMES = Object.keys(TABS) as Tab[];

export default function SystemPage() {
  const { path } = usePlace();
  const isAdmin = useMay("admin");
  const wanted = path.split("/")[2];
  const tab = NAMES.find((name) => name === wanted && isAdmin) ?? "status";
  const Shown = TABS[tab];
  return (
    <Page title={t("system.title")}>
      {isAdmin && (
        <nav className="tabs" aria-label={t("system.tabs")}>
          {NAMES.map((name) => (
            <Link key={name} to={name === "status" ? "/system" : `/system/${name}`} aria-current={name === tab ? "page" : undefined}>{t(`system.${name}`)}</Link>
          ))}
        </nav>
      )}
      <Shown />
    </Page>
  );
}
