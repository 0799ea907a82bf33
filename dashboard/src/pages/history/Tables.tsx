/** The same numbers as a table, for reading aloud and for looking closely. */

import { t } from "@/i18n";
import { kwh, money, NONE, when } from "@/lib/format";
import type { Span } from "@/lib/zone";
import { bucketName, type Bucket } from "@/pages/history/bars";
import { valueText, type Line } from "@/pages/history/lines";
import { Badge, Scroll } from "@/ui/basics";

export function EnergyTable({ buckets, span, hasSolar }: { buckets: readonly Bucket[]; span: Span; hasSolar: boolean }) {
  return (
    <Scroll>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">{t("history.col.from")}</th>
            <th scope="col" className="num">{t("history.col.used")}</th>
            <th scope="col" className="num">{t("history.col.imported")}</th>
            {hasSolar && <th scope="col" className="num">{t("history.col.exported")}</th>}
            {hasSolar && <th scope="col" className="num">{t("history.col.generated")}</th>}
            <th scope="col" className="num">{t("history.col.cost")}</th>
          </tr>
        </thead>
        <tbody>
          {buckets.map((bucket) => (
            <tr key={bucket.from}>
              <td>{span === "day" ? bucketName(bucket.from, span) : when(bucket.from, span === "year" ? "month" : "day")} {bucket.partial && bucket.used !== null && <Badge mood="info">{t("history.partial")}</Badge>}</td>
              <td className="num">{kwh(bucket.used)}</td>
              <td className="num">{kwh(bucket.imported)}</td>
              {hasSolar && <td className="num">{kwh(bucket.exported)}</td>}
              {hasSolar && <td className="num">{kwh(bucket.generated)}</td>}
              <td className="num">{bucket.cost === null ? NONE : money(bucket.cost, bucket.currency)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

const MOST_ROWS = 500;

export function LineTable({ kind, lines }: { kind: "power" | "voltage" | "pf"; lines: readonly Line[] }) {
  const field = kind === "power" ? "p" : kind === "voltage" ? "v" : "pf";
  const shown = lines.filter((line) => !line.dashed);
  const main = shown[0]?.fine ?? shown[0]?.series;
  const every = Math.max(1, Math.ceil((main?.t.length ?? 0) / MOST_ROWS));
  const at = shown.map((line) => {
    const series = line.fine ?? line.series;
    return new Map(series.t.map((time, n) => [time, series[field]?.[n] ?? null]));
  });
  return (
    <Scroll>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">{t("history.col.t")}</th>
            {shown.map((line) => <th key={line.id} scope="col" className="num">{line.name}</th>)}
          </tr>
        </thead>
        <tbody>
          {(main?.t ?? []).filter((_, n) => n % every === 0).map((time) => (
            <tr key={time}>
              <td>{when(time, "moment")}</td>
              {shown.map((line, n) => <td key={line.id} className="num">{valueText(kind, at[n]?.get(time))}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
