/** One meter in short: whether it sends, what, and how fresh that is. */

import type { Meter } from "@/api/types";
import { t, type Key } from "@/i18n";
import { ago, powerText } from "@/lib/format";
import { ageOf, meterName, type Age } from "@/lib/house";
import { Dot, Link, type Mood } from "@/ui/basics";

const MOODS: Record<Age, [Mood, Key]> = {
  fresh: ["ok", "now.meter.ok"],
  aging: ["warning", "now.meter.late"],
  old: ["silent", "now.meter.silent"],
  none: ["silent", "now.meter.silent"],
};

export function healthOf(meter: Meter, nowMs: number): { mood: Mood; text: string } {
  if (meter.recorded) return { mood: "info", text: t("now.meter.recorded") };
  const [mood, key] = MOODS[ageOf(meter, nowMs)];
  return { mood, text: t(key) };
}

export function mainWatts(meter: Meter): number | null {
  const names = Object.keys(meter.channels);
  const main = names.find((name) => meter.channels[name]?.role === "grid") ?? names[0];
  return main === undefined ? null : (meter.last?.ch[main]?.p ?? null);
}

export function MeterRow({ meter, nowMs }: { meter: Meter; nowMs: number }) {
  const { mood, text } = healthOf(meter, nowMs);
  const fresh = mood === "ok";
  return (
    <li>
      <Link to={`/meters/${meter.id}`} className="meter-row">
        <Dot mood={mood} />
        <span className="grow cut"><b>{meterName(meter)}</b> <span className="muted small">{fresh ? "" : text}</span></span>
        <span className={fresh ? "" : "aged"}>{powerText(mainWatts(meter))}</span>
        <span className={fresh ? "fresh-note meter-row-age" : "fresh-note fresh-note-old meter-row-age"}>
          {meter.last ? ago(meter.last.t, nowMs) : t("fresh.none")}
        </span>
      </Link>
    </li>
  );
}
