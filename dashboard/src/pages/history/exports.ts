/** What is shown, as a file. */

import type { Bucket } from "@/pages/history/bars";
import type { Line } from "@/pages/history/lines";
import type { View } from "@/pages/history/load";
import { t } from "@/i18n";
import { offsetMs } from "@/lib/zone";

/** A moment with the site's offset, so that a table program and a person agree on it. */
export function iso(at: number): string {
  const offset = offsetMs(at);
  const local = new Date(at + offset).toISOString().slice(0, 19);
  const minutes = Math.abs(offset) / 60_000;
  const two = (n: number): string => String(Math.floor(n)).padStart(2, "0");
  return `${local}${offset < 0 ? "-" : "+"}${two(minutes / 60)}:${two(minutes % 60)}`;
}

export function csv(rows: readonly (readonly (string | number | null)[])[]): string {
  const cell = (value: string | number | null): string => {
    if (value === null) return "";
    const text = String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

export function energyRows(buckets: readonly Bucket[]): (string | number | null)[][] {
  const head = ["from", "to", "used_kwh", "imported_kwh", "exported_kwh", "solar_kwh", "solar_used_kwh", "cost", "currency", "estimated", "partial"];
  return [head, ...buckets.map((b) => [
    iso(b.from), iso(b.to), b.used, b.imported, b.exported, b.generated, b.selfUsed, b.cost, b.currency, String(b.estimated), String(b.partial),
  ])];
}

export function lineRows(view: View, lines: readonly Line[]): (string | number | null)[][] {
  const fields = view === "voltage" ? (["v", "v_min", "v_max"] as const) : view === "pf" ? (["pf"] as const) : (["p", "p_min", "p_max"] as const);
  const shown = lines.filter((line) => !line.dashed);
  const times = [...new Set(shown.flatMap((line) => (line.fine ?? line.series).t))].sort((a, b) => a - b);
  const columns = shown.flatMap((line) => {
    const series = line.fine ?? line.series;
    const at = new Map(series.t.map((time, n) => [time, n]));
    return fields.flatMap((field) => {
      const values = series[field];
      return values ? [{ name: `${line.id}_${field}`, value: (time: number) => values[at.get(time) ?? -1] ?? null }] : [];
    });
  });
  return [["time", ...columns.map((c) => c.name)], ...times.map((time) => [iso(time), ...columns.map((c) => c.value(time))])];
}

export function saveText(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  save(name, url);
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function save(name: string, url: string): void {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}

export const EXPORT_NAMES = { csv: () => t("history.csv"), png: () => t("history.png") };
