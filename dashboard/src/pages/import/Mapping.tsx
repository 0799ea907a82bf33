/** What each column of an uploaded table means. */

import { useState, type SubmitEvent } from "react";
import { send } from "@/api/client";
import type { ImportJob } from "@/api/types";
import { t } from "@/i18n";
import { number } from "@/lib/format";
import { factorOf, fieldOf, FIELDS, mapOf, meaningsOf, targetOf, unitOf, UNITS, type ImportField, type Meaning } from "@/pages/import/columns";
import { Button, Card, Field, Scroll, Select } from "@/ui/basics";
import { attempt, wordsOf } from "@/ui/feedback";

const ORDERS = ["ymd", "dmy", "mdy"] as const;
const zones = (): string[] => Intl.supportedValuesOf("timeZone");

export function Mapping({ job, onDone }: { job: ImportJob; onDone: () => void }) {
  const [meter, setMeter] = useState(job.guess.meter ?? "imported");
  const [name, setName] = useState("");
  const [timezone, setTimezone] = useState(job.guess.timezone);
  const [time, setTime] = useState(job.guess.time ?? job.columns[0] ?? "");
  const [order, setOrder] = useState(job.guess.date_order ?? "ymd");
  const [meanings, setMeanings] = useState(() => meaningsOf(job.guess.map));
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);
  const timeColumns = [...new Set([time, ...job.columns])];
  const start = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (Object.keys(meanings).length === 0) {
      setWrong(t("import.nothing"));
      return;
    }
    setBusy(true);
    const body = { meter, timezone, time, map: mapOf(meanings), date_order: order, ...(name ? { name } : {}) };
    try {
      await send("POST", `imports/${job.id}/start`, body);
      onDone();
    } catch (error) {
      setWrong(wordsOf(error));
      setBusy(false);
    }
  };
  const discard = async (): Promise<void> => {
    if (await attempt(() => send("POST", `imports/${job.id}/undo`), t("done.removed"))) onDone();
  };
  return (
    <Card title={t("import.map")}>
      <p className="muted">{t("import.map.lead", { file: job.file, n: job.rows === 1 ? 1 : number(job.rows) })}</p>
      <form className="form" onSubmit={(event) => void start(event)}>
        <div className="form-row">
          <Field label={t("import.meter")} hint={t("import.meter.hint")} required pattern="[a-z0-9][a-z0-9\-]{1,31}" value={meter} onChange={(event) => setMeter(event.target.value)} />
          <Field label={t("import.name")} maxLength={80} value={name} onChange={(event) => setName(event.target.value)} />
          <Select label={t("import.time")} value={time} onChange={setTime} options={timeColumns.map((column) => ({ value: column, label: column }))} />
          <Select label={t("import.order")} value={order} onChange={setOrder} options={ORDERS.map((value) => ({ value, label: t(`import.order.${value}`) }))} />
          <Field label={t("import.timezone")} list="zones" required value={timezone} onChange={(event) => setTimezone(event.target.value)} />
          <datalist id="zones">{zones().map((zone) => <option key={zone} value={zone} />)}</datalist>
        </div>
        <Columns job={job} time={time} meanings={meanings} onChange={setMeanings} />
        {wrong && <p role="alert" className="field-error">{wrong}</p>}
        <div className="row wrap">
          <Button tone="primary" type="submit" disabled={busy}>{t("import.start")}</Button>
          <Button onClick={() => void discard()}>{t("import.discard")}</Button>
        </div>
      </form>
    </Card>
  );
}

interface ColumnsProps { job: ImportJob; time: string; meanings: Record<string, Meaning>; onChange: (meanings: Record<string, Meaning>) => void }

const PREVIEW_ROWS = 4;

function Columns({ job, time, meanings, onChange }: ColumnsProps) {
  const set = (column: string, meaning: Meaning | null): void => {
    const kept = Object.entries(meanings).filter(([name, held]) => name !== column && held.target !== meaning?.target);
    onChange(Object.fromEntries(meaning ? [...kept, [column, meaning]] : kept));
  };
  const parts = new Set([time, ...time.split("+")]);
  return (
    <Scroll>
      <table className="table table-columns">
        <thead>
          <tr>
            <th scope="col">{t("import.column")}</th>
            <th scope="col">{t("import.means")}</th>
            <th scope="col">{t("import.unit")}</th>
            <th scope="col" colSpan={PREVIEW_ROWS}>{t("import.preview")}</th>
          </tr>
        </thead>
        <tbody>
          {job.columns.map((column, n) => (
            <tr key={column}>
              <th scope="row">{column}</th>
              {parts.has(column) ? <td colSpan={2} className="muted">{t("import.time.is")}</td> : (
                <Row column={column} meaning={meanings[column]} stepS={job.guess.step_s} onChange={(meaning) => set(column, meaning)} />
              )}
              {job.preview.slice(0, PREVIEW_ROWS).map((row, k) => <td key={k} className="mono cut">{row[n]}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

interface RowProps { column: string; meaning: Meaning | undefined; stepS: number | null; onChange: (meaning: Meaning | null) => void }

function Row({ column, meaning, stepS, onChange }: RowProps) {
  const field = meaning ? fieldOf(meaning.target) : null;
  const unit = meaning ? unitOf(meaning.target, meaning.factor, stepS) : undefined;
  const chosen = meaning && field === "temp" ? field : meaning?.target ?? "";
  const other = meaning && field && chosen !== field ? [{ value: meaning.target, label: meaning.target }] : [];
  const unitText = (one: { name: string; perStep?: boolean }): string => (one.perStep ? t("import.unit.perstep", { unit: one.name }) : one.name);
  return (
    <>
      <td>
        <Select
          compact label={`${column}: ${t("import.means")}`} value={chosen}
          options={[{ value: "", label: t("import.field.none") }, ...FIELDS.map((value) => ({ value, label: t(`import.field.${value}`) })), ...other]}
          onChange={(value) => {
            const target = targetOf(value, column);
            onChange(value === "" ? null : { target, factor: UNITS[(fieldOf(target) ?? "p") satisfies ImportField][0]?.factor ?? 1 });
          }}
        />
      </td>
      <td>
        {meaning && field && (
          <Select
            compact label={`${column}: ${t("import.unit")}`} value={unit?.name ?? ""}
            options={[...(unit ? [] : [{ value: "", label: `× ${meaning.factor}` }]), ...UNITS[field].map((one) => ({ value: one.name, label: unitText(one) }))]}
            onChange={(name) => {
              const picked = UNITS[field].find((one) => one.name === name);
              if (picked) onChange({ target: meaning.target, factor: factorOf(picked, stepS) });
            }}
          />
        )}
      </td>
    </>
  );
}
