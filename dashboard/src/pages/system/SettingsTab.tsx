/** The settings that may be changed while the gateway runs. */

import { useState, type SubmitEvent } from "react";
import { send } from "@/api/client";
import { useQuery } from "@/api/query";
import type { SettingsSubset } from "@/api/types";
import { t, tIf } from "@/i18n";
import { Badge, Button, Card, Field, Select, Switch } from "@/ui/basics";
import { attempt, Shown } from "@/ui/feedback";

type Value = number | string | boolean | null;

export function SettingsTab() {
  const settings = useQuery<SettingsSubset>("system/settings");
  return (
    <Card title={t("system.settings")}>
      <p className="muted">{t("settings.lead")}</p>
      <Shown query={settings}>{(data) => <Editor key={JSON.stringify(data.values)} settings={data} onSaved={settings.reload} />}</Shown>
    </Card>
  );
}

function Editor({ settings, onSaved }: { settings: SettingsSubset; onSaved: () => void }) {
  const [draft, setDraft] = useState<Record<string, Value>>(settings.values);
  const changed = Object.fromEntries(Object.entries(draft).filter(([name, value]) => value !== settings.values[name]));
  const save = async (values: Record<string, Value>): Promise<void> => {
    if (await attempt(() => send("PATCH", "system/settings", { values }), t("done.saved"))) onSaved();
  };
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    void save(changed);
  };
  return (
    <form className="form settings" onSubmit={submit}>
      {Object.keys(settings.values).map((name) => (
        <div key={name} className="setting">
          <One name={name} settings={settings} value={draft[name] ?? null} onChange={(value) => setDraft((all) => ({ ...all, [name]: value }))} />
          {settings.changed.includes(name) && (
            <span className="row">
              <Badge mood="info">{t("settings.changed")}</Badge>
              <Button small tone="quiet" onClick={() => void save({ [name]: null })}>{t("settings.default")}: {words(settings.file[name] ?? null)}</Button>
            </span>
          )}
        </div>
      ))}
      <div className="row"><Button tone="primary" type="submit" disabled={Object.keys(changed).length === 0}>{t("act.save")}</Button></div>
    </form>
  );
}

function words(value: Value): string {
  if (value === null) return t("settings.empty");
  if (typeof value === "boolean") return t(value ? "settings.on" : "settings.off");
  return String(value);
}

/** What a setting does, where its name does not say it all. */
function hintOf(name: string): string | undefined {
  return tIf(`setting.${name}.hint`, "") || undefined;
}

interface OneProps { name: string; settings: SettingsSubset; value: Value; onChange: (value: Value) => void }

function One({ name, settings, value, onChange }: OneProps) {
  const label = tIf(`setting.${name}`, name);
  const limits = settings.limits[name] ?? {};
  const sample = settings.values[name] ?? settings.file[name] ?? null;
  if (typeof sample === "boolean") return <Switch label={label} checked={value === true} onChange={onChange} />;
  if (limits.choices) {
    return <Select label={label} value={String(value)} options={limits.choices.map((choice) => ({ value: choice, label: tIf(`log.level.${choice}`, choice) }))} onChange={onChange} />;
  }
  const isText = typeof sample === "string";
  return (
    <Field
      label={label} placeholder={t("settings.empty")} hint={hintOf(name)} type={isText ? "text" : "number"} step="any" min={limits.minimum} max={limits.maximum} value={value === null ? "" : String(value)}
      onChange={(event) => onChange(event.target.value === "" ? null : isText ? event.target.value : Number(event.target.value))}
    />
  );
}
