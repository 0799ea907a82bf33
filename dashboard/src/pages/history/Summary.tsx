/** The span in numbers, and against the span before. */

import type { Energy, Meter } from "@/api/types";
import { t } from "@/i18n";
import { kwh, money, NONE, number, percent } from "@/lib/format";
import { inBoth, totalsOf, type Totals } from "@/lib/house";
import type { Frame } from "@/pages/history/load";
import { Tile } from "@/pages/now/TodayTiles";

interface Compared { now: Totals; before: Totals }
interface Props { totals: Totals | null; compared: Compared | null; meter: Meter; frame: Frame }

/** Both spans, as far as both have been measured. */
export function comparedOf(meter: Meter, energy: Energy, before: Energy): Compared {
  const [now, then] = inBoth(meter, energy, before);
  return { now: totalsOf([{ meter, energy: now }]), before: totalsOf([{ meter, energy: then }]) };
}

function change(now: number | null | undefined, then: number | null | undefined): string | null {
  if (now === null || now === undefined || !then) return null;
  const share = (now / then - 1) * 100;
  return `${share > 0 ? "+" : ""}${number(share)} %`;
}

export function Summary({ totals, compared, meter, frame }: Props) {
  const hasSolar = Object.values(meter.channels).some((channel) => channel.role === "solar");
  const against = (pick: (all: Totals) => number | null): { note?: string } => {
    const told = compared && change(pick(compared.now), pick(compared.before));
    return told === null ? {} : { note: t("history.delta", { change: told, before: t(`history.compare.${frame.span}`) }) };
  };
  return (
    <dl className="tiles">
      <Tile name={t("history.used")} value={kwh(totals?.used)} unit="kWh" {...against((a) => a.used)} />
      <Tile name={t("history.imported")} swatch="grid" value={kwh(totals?.imported)} unit="kWh" {...against((a) => a.imported)} />
      {hasSolar && <Tile name={t("history.exported")} swatch="export" value={kwh(totals?.exported)} unit="kWh" {...against((a) => a.exported)} />}
      {hasSolar && <Tile name={t("history.generated")} swatch="solar" value={kwh(totals?.generated)} unit="kWh" {...against((a) => a.generated)} />}
      {hasSolar && <Tile name={t("history.selfshare")} value={percent(totals?.selfConsumption)} />}
      <Tile name={t("history.cost")} value={totals?.cost === null || !totals ? NONE : money(totals.cost, totals.currency)} {...against((a) => a.cost)} />
    </dl>
  );
}
