/** What happened, what is missing, what is asked: notes, errors, dialogs. */

import { useEffect, useRef, useState, type ReactNode } from "react";
import { ApiError } from "@/api/client";
import type { Query } from "@/api/query";
import { Store, useStore } from "@/lib/store";
import { t } from "@/i18n";
import { Button, Empty, IconButton } from "@/ui/basics";
import { Icon } from "@/ui/icons";

interface Note { id: number; text: string; bad: boolean }
const notes = new Store<Note[]>([]);
let count = 0;
const SHOWN_MS = 5000;

export function note(text: string, bad = false): void {
  const id = ++count;
  notes.update((held) => [...held.slice(-2), { id, text, bad }]);
  setTimeout(() => dismiss(id), bad ? SHOWN_MS * 2 : SHOWN_MS);
}

function dismiss(id: number): void {
  notes.update((held) => held.filter((one) => one.id !== id));
}

export function wordsOf(error: unknown): string {
  return error instanceof ApiError ? error.message : t("error.unknown");
}

/** Do something that may fail; the failure is told, and false returned. */
export async function attempt(what: () => Promise<unknown>, done?: string): Promise<boolean> {
  try {
    await what();
  } catch (error) {
    note(wordsOf(error), true);
    return false;
  }
  if (done !== undefined) note(done);
  return true;
}

export function Notes() {
  const held = useStore(notes);
  return (
    <div className="notes" role="status" aria-live="polite">
      {held.map((one) => (
        <div key={one.id} className={one.bad ? "note note-bad" : "note"}>
          <Icon name={one.bad ? "warning" : "check"} size={18} />
          <span>{one.text}</span>
          <IconButton icon="close" label={t("act.dismiss")} onClick={() => dismiss(one.id)} />
        </div>
      ))}
    </div>
  );
}

/** Shows a query's state around its data: waiting, missing on this gateway, failed. */
export function Shown<T>({ query, children, what }: { query: Query<T>; children: (data: T) => ReactNode; what?: string }) {
  const { data, error } = query;
  if (data !== undefined) return children(data);
  if (error?.missing) return <Unavailable what={what} />;
  if (error?.status === 403) return <Empty icon="lock" title={t("error.forbidden")} />;
  if (error) {
    return (
      <Empty icon="warning" title={error.message}>
        <Button onClick={query.reload}>{t("act.retry")}</Button>
      </Empty>
    );
  }
  return <Waiting />;
}

export function Unavailable({ what }: { what?: string | undefined }) {
  return (
    <Empty icon="clock" title={t("error.missing")}>
      <p className="muted">{what ?? t("error.missing.hint")}</p>
    </Empty>
  );
}

export function Waiting() {
  return (
    <div className="waiting" role="status">
      <span className="unseen">{t("act.loading")}</span>
      <span className="waiting-bar" />
      <span className="waiting-bar" />
      <span className="waiting-bar" />
    </div>
  );
}

interface DialogProps { title: string; onClose: () => void; children: ReactNode; wide?: boolean }

export function Dialog({ title, onClose, children, wide }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={element}
      className={wide ? "dialog dialog-wide" : "dialog"}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <header className="dialog-head">
        <h2>{title}</h2>
        <IconButton icon="close" label={t("act.close")} onClick={onClose} />
      </header>
      {children}
    </dialog>
  );
}

interface ConfirmProps { title: string; text: string; act: string; onDone: () => void; run: () => Promise<unknown>; done?: string }

/** Asks before what cannot be taken back. */
export function Confirm({ title, text, act, onDone, run, done }: ConfirmProps) {
  const [busy, setBusy] = useState(false);
  const go = async (): Promise<void> => {
    setBusy(true);
    const ok = await attempt(run, done);
    setBusy(false);
    if (ok) onDone();
  };
  return (
    <Dialog title={title} onClose={onDone}>
      <p>{text}</p>
      <div className="dialog-foot">
        <Button onClick={onDone}>{t("act.cancel")}</Button>
        <Button tone="danger" disabled={busy} onClick={() => void go()}>{act}</Button>
      </div>
    </Dialog>
  );
}
