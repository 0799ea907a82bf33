/** One's own password: changed by whoever knows the old one. */

import { useState, type SubmitEvent } from "react";
import { send } from "@/api/client";
import { useMe } from "@/api/session";
import { t } from "@/i18n";
import { Button, Card, Field } from "@/ui/basics";
import { Dialog, note, wordsOf } from "@/ui/feedback";

export function OwnPassword() {
  const me = useMe();
  const [asking, setAsking] = useState(false);
  return (
    <Card title={t("password.title")}>
      <p className="muted">{t("password.text", { name: me.username })}</p>
      <Button onClick={() => setAsking(true)}>{t("password.go")}</Button>
      {asking && <Change name={me.username} onDone={() => setAsking(false)} />}
    </Card>
  );
}

function Change({ name, onDone }: { name: string; onDone: () => void }) {
  const [old, setOld] = useState("");
  const [fresh, setFresh] = useState("");
  const [again, setAgain] = useState("");
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);
  const save = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (fresh !== again) {
      setWrong(t("setup.differ"));
      return;
    }
    setBusy(true);
    try {
      await send("POST", "auth/password", { old, new: fresh });
    } catch (error) {
      setWrong(wordsOf(error));
      setBusy(false);
      return;
    }
    note(t("password.done"));
    onDone();
  };
  return (
    <Dialog title={t("password.go")} onClose={onDone}>
      <form className="form" onSubmit={(event) => void save(event)}>
        <input hidden readOnly autoComplete="username" value={name} /> {/* for password managers */}
        <Field label={t("password.old")} type="password" required autoComplete="current-password" value={old} onChange={(e) => setOld(e.target.value)} />
        <Field label={t("people.password.new")} hint={t("setup.hint")} type="password" required minLength={10} autoComplete="new-password" value={fresh} onChange={(e) => setFresh(e.target.value)} />
        <Field label={t("setup.again")} type="password" required autoComplete="new-password" value={again} onChange={(e) => setAgain(e.target.value)} />
        <p role="alert" className="field-error">{wrong}</p>
        <div className="dialog-foot"><Button onClick={onDone}>{t("act.cancel")}</Button><Button tone="primary" type="submit" disabled={busy}>{t("act.save")}</Button></div>
      </form>
    </Dialog>
  );
}
