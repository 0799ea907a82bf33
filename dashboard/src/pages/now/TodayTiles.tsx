/** Today so far: energy, money, and how much of the sun stayed in the house. */

import type { ReactNode } from "react";
import { t } from "@/i18n";
import { kwh, money, NONE, percent } from "@/lib/format";
import type { Totals } from "@/lib/house";
import { Link } from "@/ui/basics";

interface TileProps { name: string; value: ReactNode; unit?: string; note?: ReactNode; swatch?: string }

export function Tile({ name, value, unit, note, swatch }: TileProps) {
  return (
    <div className="tile">
      <dt className="tile-name">{swatch !== undefined && <span className={`swatch swatch-${swatch}`} />}{name}</dt>
      <dd className="tile-value">{value}{unit !== undefined && value !== NONE && <small>{unit}</small>}</dd>
      {note !== undefined && <dd className="tile-note">{note}</dd>}
    </div>
  );
}

export function TodayTiles({ totals, failed, hasSolar }: { totals: Totals | null; failed: boolean; hasSolar: boolean }) {
  const estimated = totals?.estimated ? t("now.today.estimated") : undefined;
  return (
    <section aria-label={t("now.today")}>
      <dl className={failed ? "tiles aged" : "tiles"}>
        <Tile name={t("now.today.used")} swatch="home" value={kwh(totals?.used)} unit="kWh" note={estimated} />
        <Cost totals={totals} />
        <Tile name={t("now.today.imported")} swatch="grid" value={kwh(totals?.imported)} unit="kWh" />
        {hasSolar && <Tile name={t("now.today.exported")} swatch="export" value={kwh(totals?.exported)} unit="kWh" />}
        {hasSolar && <Tile name={t("now.today.solar")} swatch="solar" value={kwh(totals?.generated)} unit="kWh" />}
        {hasSolar && (
          <Tile
            name={t("now.today.self")} value={percent(totals?.selfConsumption)}
            note={totals?.selfSufficiency === null || totals === null ? t("now.today.self.note") : t("now.today.cover", { share: percent(totals.selfSufficiency) })}
          />
        )}
      </dl>
    </section>
  );
}

function Cost({ totals }: { totals: Totals | null }) {
  if (totals && totals.cost === null) {
    return <Tile name={t("now.today.cost")} value={NONE} note={<Link to="/tariffs">{t("now.today.cost.none")}</Link>} />;
  }
  return <Tile name={t("now.today.cost")} value={totals ? money(totals.cost, totals.currency) : NONE} note={t("now.today.cost.note")} />;
}
