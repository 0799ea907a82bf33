/** The editor of one plan of prices. */

import { useState, type SubmitEvent } from "react";
import { send } from "@/api/client";
import type { PriceEntry, Tariff } from "@/api/types";
import { t } from "@/i18n";
import { ALL_DAYS, flat, isFlat, isWhole } from "@/pages/tariffs/plans";
import { dayName } from "@/pages/tariffs/WeekPicture";
import { Button, Field, IconButton, Segmented } from "@/ui/basics";
import { Dialog, note, wordsOf } from "@/ui/feedback";

interface Draft { name: string; valid_from: string; currency: string; feed_in: string; standing: string; entries: Entry[] }
type Entry = Omit<PriceEntry, "price_per_kwh"> & { price: string };
const CURRENCIES = ["EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "BRL", "INR", "JPY", "AUD", "CAD", "ZAR"];

function draftOf(plan: Partial<Tariff>): Draft {
  const entries = plan.import ?? flat(0.25);
  return {
    name: plan.name ?? "", valid_from: plan.valid_from ?? "", currency: plan.currency ?? "EUR",
    feed_in: String(plan.feed_in_per_kwh ?? 0), standing: String(plan.standing_per_day ?? 0),
    entries: entries.map(({ price_per_kwh, ...rest }) => ({ ...rest, price: String(price_per_kwh) })),
  };
}

function entriesOf(draft: Draft): PriceEntry[] {
  return draft.entries.map(({ price, ...rest }) => ({ ...rest, price_per_kwh: Number(price) }));
}

export function PlanDialog({ plan, onClose, onSaved }: { plan: Partial<Tariff>; onClose: () => void; onSaved: () => void }) {
  const [draft, setDraft] = useState(() => draftOf(plan));
  const [byTime, setByTime] = useState(() => plan.import !== undefined && !isFlat(plan.import));
  const [wrong, setWrong] = useState("");
  const set = (part: Partial<Draft>): void => setDraft((held) => ({ ...held, ...part }));
  const whole = isWhole(entriesOf(draft));
  const save = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const body = {
      name: draft.name, valid_from: draft.valid_from, currency: draft.currency.toUpperCase(),
      import: byTime ? entriesOf(draft) : flat(Number(draft.entries[0]?.price)),
      feed_in_per_kwh: Number(draft.feed_in), standing_per_day: Number(draft.standing),
    };
    try {
      await (plan.id === undefined ? send("POST", "tariffs", body) : send("PUT", `tariffs/${plan.id}`, body));
      note(t("done.saved"));
      onSaved();
    } catch (error) {
      setWrong(wordsOf(error));
    }
  };
  const change = (n: number, part: Partial<Entry>): void => set({ entries: draft.entries.map((entry, k) => (k === n ? { ...entry, ...part } : entry)) });
  return (
    <Dialog title={t("tariffs.edit")} onClose={onClose} wide>
      <form className="form" onSubmit={(event) => void save(event)}>
        <div className="form-row">
          <Field label={t("tariffs.name")} required maxLength={80} value={draft.name} onChange={(e) => set({ name: e.target.value })} />
          <Field label={t("tariffs.from")} type="date" required value={draft.valid_from} onChange={(e) => set({ valid_from: e.target.value })} />
          <Field label={t("tariffs.currency")} required list="currencies" pattern="[A-Za-z]{3}" value={draft.currency} onChange={(e) => set({ currency: e.target.value })} />
          <datalist id="currencies">{CURRENCIES.map((code) => <option key={code} value={code} />)}</datalist>
        </div>
        <Segmented
          label={t("tariffs.kind")} value={byTime ? "times" : "flat"} onChange={(value) => setByTime(value === "times")}
          choices={(["flat", "times"] as const).map((value) => ({ value, label: t(`tariffs.kind.${value}`) }))}
        />
        {byTime ? (
          <>
            {draft.entries.map((entry, n) => (
              <EntryRow
                key={n} n={n} entry={entry} onChange={(part) => change(n, part)}
                onRemove={draft.entries.length > 1 ? () => set({ entries: draft.entries.filter((_, k) => k !== n) }) : undefined}
              />
            ))}
            <div className="row wrap spread">
              <Button small icon="plus" onClick={() => set({ entries: [...draft.entries, { days: [...ALL_DAYS], from: "22:00", to: "08:00", price: "0.15" }] })}>{t("tariffs.entry.add")}</Button>
              {!whole && <p className="hint">{t("tariffs.cover")}</p>}
            </div>
          </>
        ) : (
          <Price label={t("tariffs.price")} value={draft.entries[0]?.price ?? ""} onChange={(price) => change(0, { price })} />
        )}
        <div className="form-row">
          <Price label={t("tariffs.feedin")} value={draft.feed_in} onChange={(feed_in) => set({ feed_in })} />
          <Price label={t("tariffs.standing")} value={draft.standing} onChange={(standing) => set({ standing })} />
        </div>
        {wrong && <p role="alert" className="field-error">{wrong}</p>}
        <div className="dialog-foot">
          <Button onClick={onClose}>{t("act.cancel")}</Button>
          <Button tone="primary" type="submit">{t("act.save")}</Button>
        </div>
      </form>
    </Dialog>
  );
}

function Price({ label, value, onChange }: { label: string; value: string; onChange: (value: string) => void }) {
  return <Field label={label} type="number" step="any" required inputMode="decimal" value={value} onChange={(event) => onChange(event.target.value)} />;
}

interface EntryProps { n: number; entry: Entry; onChange: (part: Partial<Entry>) => void; onRemove: (() => void) | undefined }

const TIMES = Array.from({ length: 97 }, (_, q) => `${String(Math.floor(q / 4)).padStart(2, "0")}:${String((q % 4) * 15).padStart(2, "0")}`);

function EntryRow({ n, entry, onChange, onRemove }: EntryProps) {
  const flip = (day: number): void => onChange({ days: entry.days.includes(day) ? entry.days.filter((one) => one !== day) : [...entry.days, day].sort((a, b) => a - b) });
  return (
    <fieldset className="price-entry">
      <legend className="unseen">{t("tariffs.entry", { n: n + 1 })}</legend>
      <div className="days" role="group" aria-label={t("tariffs.days")}>
        {ALL_DAYS.map((day) => (
          <button key={day} type="button" aria-pressed={entry.days.includes(day)} aria-label={dayName(day, "long")} onClick={() => flip(day)}>{dayName(day)}</button>
        ))}
      </div>
      <Times label={t("tariffs.begin")} value={entry.from} options={TIMES.slice(0, -1)} onChange={(from) => onChange({ from })} />
      <Times label={t("tariffs.end")} value={entry.to} options={TIMES.slice(1)} onChange={(to) => onChange({ to })} />
      <Price label={t("tariffs.price")} value={entry.price} onChange={(price) => onChange({ price })} />
      {onRemove && <IconButton icon="trash" label={t("tariffs.entry.remove")} onClick={onRemove} />}
    </fieldset>
  );
}

function Times({ label, value, options, onChange }: { label: string; value: string; options: readonly string[]; onChange: (value: string) => void }) {
  return (
    <label className="field">
      <span className="field-name">{label}</span>
      <select value={value} onChange={(event) => onChange(event.target.value)}>{options.map((time) => <option key={time}>{time}</option>)}</select>
    </label>
  );
}
