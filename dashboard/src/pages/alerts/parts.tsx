/** Words and small pieces that all views of alerts share. */

import { live } from "@/api/live";
import type { Alert } from "@/api/types";
import { t, tIf } from "@/i18n";
import { duration, number, when } from "@/lib/format";
import { meterName } from "@/lib/house";
import { Badge } from "@/ui/basics";

export function kindName(kind: string): string {
  return tIf(`kind.${kind}`, kind.replaceAll("_", " "));
}

export function placeOf(meterId: string | null, channel: string | null): string {
  if (meterId === null) return t("alerts.gateway");
  const meter = live.get().meters[meterId];
  const name = meter ? meterName(meter) : meterId;
  return channel === null ? name : `${name} · ${channel}`;
}

export function SeverityBadge({ alert }: { alert: Alert }) {
  return <Badge mood={alert.state === "resolved" ? "silent" : alert.severity}>{t(`alerts.severity.${alert.severity}`)}</Badge>;
}

const UNITS: Record<string, [unit: string, digits: number]> = {
  v: ["V", 1], a: ["A", 1], w: ["W", 0], va: ["VA", 0], hz: ["Hz", 2], kwh: ["kWh", 2], var: ["var", 0], c: ["°C", 0],
};

/** A number of the evidence with the unit that its name ends in. */
export function factValue(name: string, value: number | string | null): string {
  if (typeof value !== "number") return value ?? "–";
  if (name.endsWith("_ms")) return when(value, "moment");
  if (name.endsWith("_s")) return duration(value * 1000);
  const [unit, digits] = UNITS[name.split("_").at(-1) ?? ""] ?? ["", Number.isInteger(value) ? 0 : 2];
  return `${number(value, digits)} ${unit}`.trim();
}

export function factName(name: string): string {
  return tIf(`fact.${name}`, name.replaceAll("_", " "));
}

export function beganAt(alert: Alert): number {
  const since = alert.evidence.since_ms;
  return typeof since === "number" ? Math.min(since, alert.opened) : alert.opened;
}
