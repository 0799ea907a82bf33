/** People and tokens: who may use the gateway. */

import { useState, type SubmitEvent } from "react";
import { send } from "@/api/client";
import { useQuery } from "@/api/query";
import { useMe } from "@/api/session";
import type { Page as Paged, Token, User, UserRole } from "@/api/types";
import { t } from "@/i18n";
import { when } from "@/lib/format";
import { Badge, Button, Card, Field, Select } from "@/ui/basics";
import { attempt, Confirm, Dialog, Shown } from "@/ui/feedback";

const ROLES: readonly UserRole[] = ["viewer", "operator", "admin"];
type Asked = { what: "add" } | { what: "password" | "remove"; name: string } | null;

export function PeopleTab() {
  return <div className="columns columns-wide"><People /><Tokens /></div>;
}

function RoleSelect({ value, onChange }: { value: UserRole; onChange: (role: UserRole) => void }) {
  const options = ROLES.map((role) => ({ value: role, label: `${t(`user.${role}`)}: ${t(`people.role.${role}`)}` }));
  return <Select label={t("people.role")} value={value} options={options} onChange={(role) => onChange(role as UserRole)} />;
}

function People() {
  const users = useQuery<Paged<User>>("users");
  const me = useMe();
  const [asked, setAsked] = useState<Asked>(null);
  const close = (): void => {
    setAsked(null);
    users.reload();
  };
  return (
    <Card title={t("people.title")} actions={<Button small icon="plus" onClick={() => setAsked({ what: "add" })}>{t("people.add")}</Button>}>
      <Shown query={users}>
        {(data) => (
          <ul className="plain-list">
            {data.items.map((user) => (
              <li key={user.name} className="row wrap spread">
                <span>
                  <b>{user.name}</b> <Badge mood={user.role === "admin" ? "info" : "silent"}>{t(`user.${user.role}`)}</Badge>
                  {user.name === me.username && <span className="muted small"> {t("people.you")}</span>}
                </span>
                <span className="row">
                  <Button small onClick={() => setAsked({ what: "password", name: user.name })}>{t("people.password.change")}</Button>
                  {user.name !== me.username && <Button small onClick={() => setAsked({ what: "remove", name: user.name })}>{t("act.delete")}</Button>}
                </span>
              </li>
            ))}
          </ul>
        )}
      </Shown>
      {asked?.what === "add" && <AddPerson onDone={close} />}
      {asked?.what === "password" && <SetPassword name={asked.name} onDone={close} />}
      {asked?.what === "remove" && (
        <Confirm
          title={t("act.delete")} text={t("people.remove.text", { name: asked.name })} act={t("act.delete")} done={t("done.removed")}
          run={() => send("DELETE", `users/${encodeURIComponent(asked.name)}`)} onDone={close}
        />
      )}
    </Card>
  );
}

function AddPerson({ onDone }: { onDone: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<UserRole>("viewer");
  const [password, setPassword] = useState("");
  const save = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (await attempt(() => send("POST", "users", { name, role, password }), t("done.saved"))) onDone();
  };
  return (
    <Dialog title={t("people.add")} onClose={onDone}>
      <form className="form" onSubmit={(event) => void save(event)}>
        <Field label={t("people.name")} required autoComplete="off" autoCapitalize="none" value={name} onChange={(e) => setName(e.target.value)} />
        <RoleSelect value={role} onChange={setRole} />
        <Field label={t("people.password")} hint={t("setup.hint")} type="password" required minLength={10} autoComplete="new-password" value={password} onChange={(e) => setPassword(e.target.value)} />
        <div className="dialog-foot"><Button onClick={onDone}>{t("act.cancel")}</Button><Button tone="primary" type="submit">{t("act.add")}</Button></div>
      </form>
    </Dialog>
  );
}

function SetPassword({ name, onDone }: { name: string; onDone: () => void }) {
  const [password, setPassword] = useState("");
  const save = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (await attempt(() => send("POST", `users/${encodeURIComponent(name)}/password`, { password }), t("people.password.done"))) onDone();
  };
  return (
    <Dialog title={`${t("people.password.change")}: ${name}`} onClose={onDone}>
      <form className="form" onSubmit={(event) => void save(event)}>
        <Field label={t("people.password.new")} hint={t("setup.hint")} type="password" required minLength={10} autoComplete="new-password" value={password} onChange={(e) => setPassword(e.target.value)} />
        <div className="dialog-foot"><Button onClick={onDone}>{t("act.cancel")}</Button><Button tone="primary" type="submit">{t("act.save")}</Button></div>
      </form>
    </Dialog>
  );
}

function Tokens() {
  const tokens = useQuery<Paged<Token>>("tokens");
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<string | null>(null);
  const close = (): void => {
    setAdding(false);
    setRemoving(null);
    tokens.reload();
  };
  return (
    <Card title={t("tokens.title")} actions={<Button small icon="plus" onClick={() => setAdding(true)}>{t("tokens.add")}</Button>}>
      <p className="muted small">{t("tokens.lead")}</p>
      <Shown query={tokens}>
        {(data) => data.items.length === 0 ? <p className="muted">{t("tokens.none")}</p> : (
          <ul className="plain-list">
            {data.items.map((token) => (
              <li key={token.name} className="row wrap spread">
                <span>
                  <b>{token.name}</b> <Badge mood="silent">{t(`user.${token.role}`)}</Badge>
                  <span className="muted small"> {t("tokens.until", { date: when(token.expires, "date") })} · {token.seen ? t("tokens.seen", { date: when(token.seen) }) : t("tokens.unseen")}</span>
                </span>
                <Button small onClick={() => setRemoving(token.name)}>{t("act.delete")}</Button>
              </li>
            ))}
          </ul>
        )}
      </Shown>
      {adding && <AddToken onDone={close} />}
      {removing !== null && (
        <Confirm
          title={t("act.delete")} text={t("tokens.remove.text", { name: removing })} act={t("act.delete")} done={t("done.removed")}
          run={() => send("DELETE", `tokens/${encodeURIComponent(removing)}`)} onDone={close}
        />
      )}
    </Card>
  );
}

function AddToken({ onDone }: { onDone: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<UserRole>("viewer");
  const [days, setDays] = useState("365");
  const [made, setMade] = useState<string | null>(null);
  const save = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    await attempt(async () => setMade((await send<{ token: string }>("POST", "tokens", { name, role, days: Number(days) })).token));
  };
  return (
    <Dialog title={t("tokens.add")} onClose={onDone}>
      {made === null ? (
        <form className="form" onSubmit={(event) => void save(event)}>
          <Field label={t("tokens.name")} required autoComplete="off" autoCapitalize="none" value={name} onChange={(e) => setName(e.target.value)} />
          <RoleSelect value={role} onChange={setRole} />
          <Field label={t("tokens.days")} type="number" min={1} required value={days} onChange={(e) => setDays(e.target.value)} />
          <div className="dialog-foot"><Button onClick={onDone}>{t("act.cancel")}</Button><Button tone="primary" type="submit">{t("act.add")}</Button></div>
        </form>
      ) : (
        <div className="form">
          <p>{t("tokens.once")}</p>
          <code className="mono secret">{made}</code>
          <div className="dialog-foot"><Button tone="primary" onClick={onDone}>{t("act.close")}</Button></div>
        </div>
      )}
    </Dialog>
  );
}
