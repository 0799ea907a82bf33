/** Log in, or make the first account where there is none. */

import { useState, type SubmitEvent } from "react";
import { ApiError } from "@/api/client";
import { login, session, setUp } from "@/api/session";
import { t } from "@/i18n";
import { duration } from "@/lib/format";
import { useStore } from "@/lib/store";
import { Button, Field, Link } from "@/ui/basics";
import { wordsOf } from "@/ui/feedback";

export function Enter() {
  const { setupNeeded, ended } = useStore(session);
  return (
    <main className="enter">
      <title>{`${t("app.name")} · ${t(setupNeeded ? "setup.title" : "enter.title")}`}</title>
      <div className="enter-card">
        <div className="enter-brand">
          <img src="/icon.svg" alt="" />
          <div>
            <h1>{setupNeeded ? t("setup.title") : t("app.name")}</h1>
            {!setupNeeded && <p className="muted">{ended ? t("enter.ended") : t("enter.lead")}</p>}
          </div>
        </div>
        {setupNeeded ? <SetUp /> : <LogIn />}
        <p className="small"><Link to="/trust">{t("enter.trust")}</Link></p>
      </div>
    </main>
  );
}

function useTrying(): [boolean, string, (what: () => Promise<unknown>) => void, (text: string) => void] {
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState("");
  const run = (what: () => Promise<unknown>): void => {
    setBusy(true);
    setWrong("");
    what().catch((error: unknown) => {
      const wait = error instanceof ApiError && error.status === 429 ? error.waitS : null;
      setWrong(wait === null ? wordsOf(error) : t("enter.wait", { time: duration(wait * 1000) }));
      setBusy(false);
    });
  };
  return [busy, wrong, run, setWrong];
}

function LogIn() {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [busy, wrong, run] = useTrying();
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    run(() => login(name, password));
  };
  return (
    <form onSubmit={submit}>
      <Field label={t("enter.name")} autoComplete="username" autoCapitalize="none" required value={name} onChange={(e) => setName(e.target.value)} />
      <Field label={t("enter.password")} type="password" autoComplete="current-password" required value={password} onChange={(e) => setPassword(e.target.value)} />
      <p role="alert" className="field-error">{wrong}</p>
      <Button tone="primary" type="submit" disabled={busy}>{t("enter.go")}</Button>
    </form>
  );
}

function SetUp() {
  const [code, setCode] = useState("");
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [busy, wrong, run, say] = useTrying();
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (password !== again) say(t("setup.differ"));
    else run(() => setUp(code.trim(), name, password));
  };
  return (
    <form onSubmit={submit}>
      <p className="muted">{t("setup.lead")}</p>
      <code className="mono">{"wattwarden users setup-code"}</code>
      <Field label={t("setup.code")} required autoComplete="one-time-code" autoCapitalize="none" value={code} onChange={(e) => setCode(e.target.value)} />
      <Field label={t("enter.name")} required autoComplete="username" autoCapitalize="none" value={name} onChange={(e) => setName(e.target.value)} />
      <Field label={t("enter.password")} hint={t("setup.hint")} required minLength={10} type="password" autoComplete="new-password" value={password} onChange={(e) => setPassword(e.target.value)} />
      <Field label={t("setup.again")} required type="password" autoComplete="new-password" value={again} onChange={(e) => setAgain(e.target.value)} />
      <p role="alert" className="field-error">{wrong}</p>
      <Button tone="primary" type="submit" disabled={busy}>{t("setup.go")}</Button>
    </form>
  );
}
