/** The frame around every page, and which page is shown. */

import { Component, lazy, Suspense, useEffect, useState, type ReactNode } from "react";
import { link, live, now, retryNow, skew } from "@/api/live";
import { logout, session, useMay, useMe } from "@/api/session";
import { t, type Key } from "@/i18n";
import { duration, when } from "@/lib/format";
import { usePlace } from "@/lib/router";
import { useStore } from "@/lib/store";
import { setTheme, theme, type Theme } from "@/lib/theme";
import { Enter } from "@/pages/enter/Enter";
import { NowPage } from "@/pages/now/NowPage";
import { Button, Empty, IconButton, Link, Page, Segmented, useIsAt } from "@/ui/basics";
import { Notes, Waiting } from "@/ui/feedback";
import { Icon, type IconName } from "@/ui/icons";
import { isSecure } from "@/worker";

const PAGES: Record<string, ReturnType<typeof lazy>> = {
  history: lazy(() => import("@/pages/history/HistoryPage")),
  alerts: lazy(() => import("@/pages/alerts/AlertsPage")),
  meters: lazy(() => import("@/pages/meters/MetersPage")),
  site: lazy(() => import("@/pages/site/SitePage")),
  import: lazy(() => import("@/pages/import/ImportPage")),
  tariffs: lazy(() => import("@/pages/tariffs/TariffsPage")),
  system: lazy(() => import("@/pages/system/SystemPage")),
};
const TrustPage = lazy(() => import("@/pages/trust/TrustPage"));

interface Target { path: string; icon: IconName; name: Key }
const MAIN: Target[] = [
  { path: "/", icon: "now", name: "nav.now" },
  { path: "/history", icon: "history", name: "nav.history" },
  { path: "/alerts", icon: "alerts", name: "nav.alerts" },
  { path: "/meters", icon: "meters", name: "nav.meters" },
];
const REST: Target[] = [
  { path: "/site", icon: "site", name: "nav.site" },
  { path: "/tariffs", icon: "tariff", name: "nav.tariffs" },
  { path: "/import", icon: "import", name: "nav.import" },
  { path: "/system", icon: "system", name: "nav.system" },
];
const MORE: Target = { path: "/more", icon: "more", name: "nav.more" };

export function App() {
  const state = useStore(session);
  const { path } = usePlace();
  if (path === "/trust") {
    return <main className="main"><Suspense fallback={<Waiting />}><TrustPage /></Suspense></main>;
  }
  if (state.me === undefined) return state.away ? <Away /> : <Splash />;
  return state.me === null ? <Enter /> : <Shell />;
}

function Splash() {
  return <main className="enter"><h1 className="unseen">{t("app.name")}</h1><Waiting /></main>;
}

function Away() {
  return (
    <main className="enter">
      <div className="enter-card" role="status">
        <div className="enter-brand"><img src="/icon.svg" alt="" /><h1>{t("app.name")}</h1></div>
        <p>{t("enter.waiting")}</p>
      </div>
    </main>
  );
}

function Shell() {
  return (
    <div className="shell">
      <a className="skip" href="#content">{t("app.skip")}</a>
      <Sidebar />
      <main className="main" id="content" tabIndex={-1}>
        <LinkBanner />
        <Insecure />
        <Frame><Routed /></Frame>
      </main>
      <nav className="tabs-bottom" aria-label={t("nav.label")}>
        {[...MAIN, MORE].map((target) => <NavLink key={target.path} {...target} />)}
      </nav>
      <Notes />
    </div>
  );
}

function Routed() {
  const { path } = usePlace();
  const first = path.split("/")[1] ?? "";
  if (first === "") return <div className="page"><NowPage /></div>;
  if (first === "more") return <div className="page"><More /></div>;
  const Chosen = PAGES[first];
  if (!Chosen) return <Empty icon="warning" title={t("error.page")} />;
  return <Suspense fallback={<Waiting />}><div className="page" key={first}><Chosen /></div></Suspense>;
}

function Sidebar() {
  return (
    <nav className="nav" aria-label={t("nav.label")}>
      <Link to="/" className="brand"><img src="/icon.svg" alt="" /><span>{t("app.name")}</span></Link>
      <div className="nav-list">
        {[...MAIN, ...REST].map((target) => <NavLink key={target.path} {...target} />)}
      </div>
      <div className="nav-foot"><ThemeChoice /><Account /></div>
    </nav>
  );
}

function NavLink({ path, icon, name }: Target) {
  const isAt = useIsAt(path);
  return (
    <Link to={path} className="nav-link" aria-current={isAt ? "page" : undefined} title={t(name)}>
      <Icon name={icon} />
      <span>{t(name)}</span>
      {path === "/alerts" && <AlertCount />}
    </Link>
  );
}

function AlertCount() {
  const open = Object.values(useStore(live).alerts).filter((a) => a.state === "open" && a.muted !== true);
  if (open.length === 0) return null;
  const critical = open.some((alert) => alert.severity === "critical");
  return (
    <span className={critical ? "nav-count nav-count-critical" : "nav-count"}>
      <span aria-hidden="true">{open.length}</span>
      <span className="unseen">{t("nav.alerts.count", { n: open.length })}</span>
    </span>
  );
}

function ThemeChoice() {
  const chosen = useStore(theme);
  const icons: Record<Theme, IconName> = { auto: "auto", light: "sun", dark: "moon" };
  return (
    <Segmented
      label={t("theme.label")}
      value={chosen}
      onChange={setTheme}
      choices={(["auto", "light", "dark"] as const).map((value) => ({
        value, name: t(`theme.${value}`), label: <Icon name={icons[value]} size={18} />,
      }))}
    />
  );
}

function Account() {
  const me = useMe();
  return (
    <div className="nav-user">
      <Icon name="user" />
      <span className="grow cut">{me.username}</span>
      <IconButton icon="out" label={t("nav.logout")} onClick={() => void logout()} />
    </div>
  );
}

function More() {
  const isOperator = useMay("operator");
  const shown = REST.filter(({ path }) => isOperator || path !== "/import");
  return (
    <Page title={t("nav.more")}>
      <div className="more-list">{shown.map((target) => <NavLink key={target.path} {...target} />)}</div>
      <div className="row spread"><ThemeChoice /><Account /></div>
    </Page>
  );
}

const BACK_SHOWN_MS = 5000;

function LinkBanner() {
  const state = useStore(link);
  const at = useStore(now);
  const ahead = useStore(skew);
  if (state.state === "lost") {
    return (
      <div className="link-banner" role="alert">
        <Icon name="warning" />
        <span>{t("link.lost", { time: when(state.since, "seconds") })}</span>
        <Button small onClick={retryNow}>{t("act.retry")}</Button>
      </div>
    );
  }
  if (state.state === "live" && state.wasLost && at - state.since < BACK_SHOWN_MS) {
    return <div className="link-banner link-banner-back" role="status"><Icon name="check" />{t("link.back")}</div>;
  }
  if (Math.abs(ahead) > 60_000) {
    return <div className="insecure"><Icon name="clock" /><span>{t("fresh.skew", { time: duration(Math.abs(ahead)) })}</span></div>;
  }
  return null;
}

function Insecure() {
  const [hidden, setHidden] = useState(() => sessionStorage.getItem("insecure") === "hidden");
  const { path } = usePlace();
  if (isSecure || hidden || path !== "/") return null;
  const hide = (): void => {
    sessionStorage.setItem("insecure", "hidden");
    setHidden(true);
  };
  return (
    <div className="insecure">
      <Icon name="lock" />
      <span className="grow">{t("insecure.text")} <Link to="/trust">{t("insecure.link")}</Link></span>
      <IconButton icon="close" label={t("insecure.hide")} onClick={hide} />
    </div>
  );
}

/** Keeps one page's mistake from taking the others along. */
class Boundary extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };
  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }
  override render(): ReactNode {
    if (!this.state.failed) return this.props.children;
    return (
      <Empty icon="warning" title={t("error.crash")}>
        <Button onClick={() => location.reload()}>{t("act.retry")}</Button>
      </Empty>
    );
  }
}

function Frame({ children }: { children: ReactNode }) {
  const { path } = usePlace();
  useEffect(() => {
    if (document.activeElement !== document.body) document.getElementById("content")?.focus({ preventScroll: true });
  }, [path]);
  return <Boundary key={path.split("/")[1]}>{children}</Boundary>;
}
