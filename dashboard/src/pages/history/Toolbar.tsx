/** Which meter, which time, which quantity. */

import { now } from "@/api/live";
import { t } from "@/i18n";
import { ask } from "@/lib/router";
import { useStore } from "@/lib/store";
import { DAY_MS, fromWall, step, toWall, type Span } from "@/lib/zone";
import type { Frame, View } from "@/pages/history/load";
import { Button, IconButton, Segmented, Switch } from "@/ui/basics";

const SPANS: readonly Span[] = ["day", "week", "month", "year"];
const VIEWS: readonly View[] = ["energy", "power", "voltage", "pf"];

interface Props { frame: Frame; view: View; compare: boolean }

export function Toolbar({ frame, view, compare }: Props) {
  const nowMs = useStore(now);
  const move = (steps: number): void => ask({ at: String(step(frame.from, frame.span, steps)) });
  const isNewest = frame.to > nowMs;
  const date = new Date(toWall(frame.from)).toISOString().slice(0, 10);
  return (
    <div className="toolbar">
      <Segmented label={t("history.span")} value={frame.span} onChange={(span) => ask({ span })} choices={SPANS.map((value) => ({ value, label: t(`history.${value}`) }))} />
      <div className="row">
        <IconButton icon="left" label={t("history.earlier")} onClick={() => move(-1)} />
        <label className="field field-compact">
          <span className="unseen">{t("history.col.from")}</span>
          <input
            type="date" value={date} max={new Date(toWall(nowMs) + DAY_MS).toISOString().slice(0, 10)}
            onChange={(event) => {
              const picked = Date.parse(`${event.target.value}T00:00:00Z`);
              if (!Number.isNaN(picked)) ask({ at: String(fromWall(picked)) });
            }}
          />
        </label>
        <IconButton icon="right" label={t("history.later")} disabled={isNewest} onClick={() => move(1)} />
        <Button small disabled={isNewest} onClick={() => ask({ at: null })}>{t("history.today")}</Button>
      </div>
      <Segmented label={t("history.view")} value={view} onChange={(next) => ask({ view: next })} choices={VIEWS.map((value) => ({ value, label: t(`history.${value}`) }))} />
      <Switch label={t("history.compare")} checked={compare} onChange={(on) => ask({ compare: on ? "1" : null })} />
    </div>
  );
}
