/** For how long an alert, or its kind, is to be quiet. */

import { send } from "@/api/client";
import { now } from "@/api/live";
import type { Alert } from "@/api/types";
import { t, type Key } from "@/i18n";
import { kindName, placeOf } from "@/pages/alerts/parts";
import { Button } from "@/ui/basics";
import { attempt, Dialog } from "@/ui/feedback";

const MINUTES = [60, 480, 1440, 10_080] as const;

interface SnoozeProps { act: (what: string, body: object) => Promise<boolean>; onClose: () => void }

export function SnoozeDialog({ act, onClose }: SnoozeProps) {
  const choose = async (minutes: number): Promise<void> => {
    if (await act("snooze", { minutes })) onClose();
  };
  return (
    <Dialog title={t("alerts.snooze.title")} onClose={onClose}>
      <div className="stack-small">
        {MINUTES.map((minutes) => <Button key={minutes} onClick={() => void choose(minutes)}>{t(`alerts.snooze.${minutes}` as Key)}</Button>)}
      </div>
    </Dialog>
  );
}

export function MuteDialog({ alert, onClose }: { alert: Alert; onClose: () => void }) {
  const choose = async (minutes: number | null): Promise<void> => {
    const until_ms = minutes === null ? null : now.get() + minutes * 60_000;
    const body = { meter: alert.meter, channel: alert.channel, kind: alert.kind, until_ms };
    if (await attempt(() => send("POST", "mutes", body), t("alerts.done.mute"))) onClose();
  };
  return (
    <Dialog title={t("alerts.mute.title")} onClose={onClose}>
      <div className="stack-small">
        <p>{t("alerts.mute.text", { kind: kindName(alert.kind), meter: placeOf(alert.meter, alert.channel) })}</p>
        {MINUTES.slice(2).map((minutes) => <Button key={minutes} onClick={() => void choose(minutes)}>{t(`alerts.snooze.${minutes}` as Key)}</Button>)}
        <Button onClick={() => void choose(null)}>{t("alerts.mute.forever")}</Button>
      </div>
    </Dialog>
  );
}
