/** Name of a meter, and what its channels measure. */

import { useState, type SubmitEvent } from "react";
import { send } from "@/api/client";
import { noteMeter } from "@/api/live";
import type { ChannelRole, Meter } from "@/api/types";
import { t } from "@/i18n";
import { Button, Field, Select } from "@/ui/basics";
import { attempt, Dialog } from "@/ui/feedback";

const ROLES: readonly ChannelRole[] = ["grid", "solar", "load"];

export function EditMeter({ meter, onClose }: { meter: Meter; onClose: () => void }) {
  const [label, setLabel] = useState(meter.label);
  const [channels, setChannels] = useState(() =>
    Object.entries(meter.channels).map(([name, info]) => ({ name, role: info.role, rating: info.rating_a === null ? "" : String(info.rating_a) })));
  const [busy, setBusy] = useState(false);
  const change = (name: string, part: { role?: ChannelRole; rating?: string }): void =>
    setChannels((all) => all.map((one) => (one.name === name ? { ...one, ...part } : one)));
  const save = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    const body = {
      label,
      channels: Object.fromEntries(channels.map((one) => [one.name, { role: one.role, rating_a: one.rating === "" ? null : Number(one.rating) }])),
    };
    const done = await attempt(async () => noteMeter(await send<Meter>("PATCH", `meters/${meter.id}`, body)), t("done.saved"));
    setBusy(false);
    if (done) onClose();
  };
  return (
    <Dialog title={t("meters.edit")} onClose={onClose}>
      <form className="form" onSubmit={(event) => void save(event)}>
        <Field label={t("meters.label")} hint={t("meters.label.hint")} value={label} maxLength={80} onChange={(event) => setLabel(event.target.value)} />
        {channels.map((one) => (
          <fieldset key={one.name} className="stack-small">
            <legend><h3>{one.name}</h3></legend>
            <div className="form-row">
              <Select
                label={t("meters.role")} value={one.role} options={ROLES.map((role) => ({ value: role, label: t(`role.${role}`) }))}
                onChange={(role) => change(one.name, { role: role as ChannelRole })}
              />
              <Field label={`${t("meters.rating")} (A)`} type="number" min={0.1} max={1000} step="any" value={one.rating} onChange={(event) => change(one.name, { rating: event.target.value })} />
            </div>
          </fieldset>
        ))}
        <p className="hint">{t("meters.rating.hint")}</p>
        <div className="dialog-foot">
          <Button onClick={onClose}>{t("act.cancel")}</Button>
          <Button tone="primary" type="submit" disabled={busy}>{t("act.save")}</Button>
        </div>
      </form>
    </Dialog>
  );
}
