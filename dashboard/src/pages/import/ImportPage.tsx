/** Import of tables: choose a file, say what its columns mean, watch it come in, take it back. */

import { useState, type DragEvent } from "react";
import { send, upload, urlOf } from "@/api/client";
import { useQuery } from "@/api/query";
import { useMay } from "@/api/session";
import type { ImportJob, Page as Paged } from "@/api/types";
import { t, type Key } from "@/i18n";
import { number, when } from "@/lib/format";
import { Mapping } from "@/pages/import/Mapping";
import { Badge, Button, Card, Empty, Link, type Mood, Page, Scroll } from "@/ui/basics";
import { Confirm, Shown, wordsOf } from "@/ui/feedback";
import { Icon } from "@/ui/icons";

const BUSY = new Set(["waiting", "running", "judging", "undoing"]);
const MOODS: Partial<Record<ImportJob["state"], Mood>> = { done: "ok", failed: "critical", undone: "silent" };
const QUICK_MS = 700;
const SLOW_MS = 10_000;

export default function ImportPage() {
  const mayImport = useMay("operator");
  const [busy, setBusy] = useState(false);
  const jobs = useQuery<Paged<ImportJob>>("imports", { everyMs: busy ? QUICK_MS : SLOW_MS });
  const isBusy = jobs.data?.items.some((job) => BUSY.has(job.state)) ?? false;
  if (isBusy !== busy) setBusy(isBusy);
  const [open, setOpen] = useState<ImportJob | null>(null);
  return (
    <Page title={t("import.title")} lead={t("import.lead")}>
      {open ? (
        <Mapping job={open} onDone={() => {
          setOpen(null);
          jobs.reload();
        }} />
      ) : mayImport && jobs.error?.missing !== true && <Upload onReady={setOpen} />}
      <Card title={t("import.list")}>
        <Shown query={jobs}>
          {(data) => data.items.length === 0
            ? <Empty icon="import" title={t("import.list.none")} />
            : <ul className="plain-list">{data.items.map((job) => <li key={job.id}><Job job={job} mayAct={mayImport} onOpen={() => setOpen(job)} onChange={jobs.reload} /></li>)}</ul>}
        </Shown>
      </Card>
    </Page>
  );
}

function Upload({ onReady }: { onReady: (job: ImportJob) => void }) {
  const [share, setShare] = useState<number | null>(null);
  const [name, setName] = useState("");
  const [wrong, setWrong] = useState("");
  const [over, setOver] = useState(false);
  const take = (file: File | undefined): void => {
    if (!file) return;
    setName(file.name);
    setWrong("");
    setShare(0);
    upload<ImportJob>("imports", file, setShare)
      .then(onReady)
      .catch((error: unknown) => setWrong(wordsOf(error)))
      .finally(() => setShare(null));
  };
  const drop = (event: DragEvent): void => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files[0]);
  };
  return (
    <Card title={t("import.new")}>
      {/* Dropping is an extra for the mouse: the button below does the same for everybody. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions */}
      <div
        role="group" aria-label={t("import.new")} className={over ? "drop drop-over" : "drop"}
        onDrop={drop} onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
      >
        <Icon name="import" size={32} />
        {share === null ? <p className="empty-title">{t("import.drop")}</p> : (
          <div className="drop-progress" role="status">
            <p>{t("import.uploading", { name })}</p>
            <Bar share={share} label={t("import.uploading", { name })} />
          </div>
        )}
        <label className="button button-primary file-button">
          {t("import.choose")}
          <input type="file" accept=".csv,.txt,.gz,text/csv" disabled={share !== null} onChange={(event) => {
            take(event.target.files?.[0]);
            event.target.value = "";
          }} />
        </label>
        <p className="hint">{t("import.limits")} <a href={urlOf("imports/sample.csv")} download>{t("import.sample")}</a></p>
        {wrong && <p role="alert" className="field-error">{wrong}</p>}
      </div>
    </Card>
  );
}

export function Bar({ share, label }: { share: number; label: string }) {
  const now = Math.round(share * 100);
  return (
    <div className="progress" role="progressbar" aria-label={label} aria-valuenow={now} aria-valuemin={0} aria-valuemax={100}>
      <span style={{ width: `${now}%` }} />
    </div>
  );
}

/** What taking an import back is called as it stands now; null: nothing is left to take back. */
function undoWord(state: ImportJob["state"]): Key | null {
  if (state === "undoing" || state === "undone") return null;
  if (state === "preview") return "import.discard";
  return BUSY.has(state) ? "import.stop" : "import.undo";
}

function Job({ job, mayAct, onOpen, onChange }: { job: ImportJob; mayAct: boolean; onOpen: () => void; onChange: () => void }) {
  const [asking, setAsking] = useState(false);
  const isBusy = BUSY.has(job.state);
  const undo = undoWord(job.state);
  return (
    <article className="stack-small" aria-label={job.file}>
      <div className="row wrap spread">
        <div className="grow">
          <b>{job.file}</b> <Badge mood={MOODS[job.state] ?? "info"}>{t(`import.state.${job.state}`)}</Badge>
          <p className="muted small">
            {[
              when(job.created_ms), job.created_by, job.meter,
              job.state !== "preview" && t("import.rows", { done: number(job.rows_done), total: number(job.rows_total) }),
              job.from_ms !== null && job.to_ms !== null && `${when(job.from_ms, "date")} – ${when(job.to_ms, "date")}`,
              job.state === "done" && t("import.alerts", { n: job.alerts }),
            ].filter(Boolean).join(" · ")}
          </p>
        </div>
        <div className="row wrap">
          {job.state === "preview" && mayAct && <Button small tone="primary" onClick={onOpen}>{t("import.continue")}</Button>}
          {job.state === "done" && job.meter !== null && <Link className="button button-small" to={`/history?meter=${job.meter}&span=month&view=power&at=${job.to_ms ?? ""}`}>{t("import.show")}</Link>}
          {job.state === "done" && job.alerts > 0 && <Link className="button button-small" to={`/alerts?state=all&meter=${job.meter ?? ""}`}>{t("import.alerts.show")}</Link>}
          {undo && mayAct && <Button small icon="undo" onClick={() => setAsking(true)}>{t(undo)}</Button>}
        </div>
      </div>
      {isBusy && <Bar share={job.rows_total > 0 ? job.rows_done / job.rows_total : 0} label={t(`import.state.${job.state}`)} />}
      {job.error !== null && <p className="field-error">{job.error}</p>}
      {job.error_count > 0 && <Errors job={job} />}
      {asking && (
        <Confirm
          title={t(undo ?? "import.undo")} text={t("import.undo.text", { file: job.file })} act={t(undo ?? "import.undo")} done={t("import.undo.done")}
          run={() => send("POST", `imports/${job.id}/undo`)}
          onDone={() => {
            setAsking(false);
            onChange();
          }}
        />
      )}
    </article>
  );
}

const SHOWN_ERRORS = 50;

function Errors({ job }: { job: ImportJob }) {
  const detail = useQuery<ImportJob>(job.errors.length === 0 ? `imports/${job.id}` : null);
  const errors = job.errors.length > 0 ? job.errors : (detail.data?.errors ?? []);
  return (
    <details className="errors">
      <summary><Icon name="warning" size={18} />{t("import.errors", { n: job.error_count })}</summary>
      <Scroll>
        <table className="table">
          <thead><tr><th scope="col" className="num">{t("import.error.line")}</th><th scope="col">{t("import.error.column")}</th><th scope="col">{t("import.error.text")}</th></tr></thead>
          <tbody>
            {errors.slice(0, SHOWN_ERRORS).map((error) => (
              <tr key={`${error.line}/${error.column ?? ""}/${error.text}`}><td className="num">{error.line}</td><td>{error.column}</td><td>{error.text}</td></tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      {job.error_count > SHOWN_ERRORS && <p className="hint">{t("import.errors.first", { n: SHOWN_ERRORS })}</p>}
    </details>
  );
}

