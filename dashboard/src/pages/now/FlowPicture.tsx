/** The power flow between grid, panels and house; dots move as fast as power flows. */

import { t } from "@/i18n";
import { power, powerText } from "@/lib/format";
import type { Flow } from "@/lib/house";

interface Wire { key: string; path: string; watts: number; kind: "grid" | "solar" | "export" }

const NEGLIGIBLE_W = 5;

/** Seconds a dot takes along its wire: 5 s at a trickle, under 1 s above 5 kW. */
export function pace(watts: number): number {
  const share = Math.min(1, Math.log10(1 + Math.max(0, watts) / 50) / 2);
  return Number((5 - 4.2 * share).toFixed(2));
}

function wiresOf(flow: Flow): Wire[] {
  if (!flow.hasSolar) {
    return [{ key: "grid", path: "M136 150H262", watts: flow.fromGrid, kind: "grid" }];
  }
  return [
    { key: "grid", path: "M136 244H262", watts: flow.fromGrid, kind: "grid" },
    { key: "solar", path: "M232 134C238 186 250 214 274 226", watts: flow.fromSolar, kind: "solar" },
    { key: "export", path: "M178 134C172 186 156 214 130 224", watts: flow.exported, kind: "export" },
  ];
}

export function FlowPicture({ flow, old }: { flow: Flow; old: boolean }) {
  const tall = flow.hasSolar;
  const y = tall ? 244 : 150;
  return (
    <figure className={old ? "flow aged" : "flow"}>
      <figcaption className="unseen" aria-live="off">{sentence(flow)}</figcaption>
      <svg viewBox={tall ? "0 8 420 320" : "0 60 420 178"} aria-hidden="true" className="flow-picture">
        {wiresOf(flow).map((wire) => <WireLine key={wire.key} wire={wire} still={old} />)}
        {tall && <Place x={205} y={78} kind="solar" label={t("now.solar")} watts={flow.solar === null ? null : Math.max(0, flow.solar)} icon={SUN} />}
        <Place
          x={72} y={y} kind={flow.exported > NEGLIGIBLE_W ? "export" : "grid"}
          label={t(flow.exported > NEGLIGIBLE_W ? "now.grid.out" : "now.grid.in")}
          watts={flow.grid === null ? null : Math.abs(flow.grid)} icon={PYLON}
        />
        <House x={338} y={y} flow={flow} />
      </svg>
    </figure>
  );
}

export function sentence(flow: Flow): string {
  const grid =
    flow.exported > NEGLIGIBLE_W ? t("now.flow.export", { value: powerText(flow.exported) })
    : flow.fromGrid > NEGLIGIBLE_W ? t("now.flow.import", { value: powerText(flow.fromGrid) })
    : t("now.flow.idle");
  const solar = flow.hasSolar ? t("now.flow.solar", { value: powerText(flow.solar) }) : "";
  return t("now.flow.text", { house: powerText(flow.house), grid, solar });
}

function WireLine({ wire, still }: { wire: Wire; still: boolean }) {
  const flows = wire.watts > NEGLIGIBLE_W && !still;
  return (
    <g className={`wire wire-${wire.kind}`}>
      <path d={wire.path} className="wire-bed" />
      {flows && <path d={wire.path} className="wire-live" style={{ strokeWidth: 2.5 + Math.min(4, wire.watts / 1200) }} />}
      {flows && <path d={wire.path} className="wire-dots" style={{ animationDuration: `${pace(wire.watts)}s` }} />}
    </g>
  );
}

const SUN = "M0-7a7 7 0 1 1 0 14a7 7 0 1 1 0-14M0-15v3.500M0 11.500V15M-15 0h3.500M11.5 0H15M-10.6-10.600l2.5 2.500M8.1 8.100l2.5 2.500M10.6-10.6 8.1-8.100M-8.1 8.100l-2.5 2.5";
const PYLON = "M-8 15-3-15H3L8 15M-11-7H11M-10 2H10M-4.5-7 6.6 2M4.5-7-6.6 2";
const HOME = "M-15-1 0-14 15-1M-11-3V14H11V-3M-4 14V5H4V14";

interface PlaceProps { x: number; y: number; kind: "grid" | "solar" | "export"; label: string; watts: number | null; icon: string }

function Place({ x, y, kind, label, watts, icon }: PlaceProps) {
  const { value, unit } = power(watts);
  return (
    <g transform={`translate(${x} ${y})`} className={`place place-${kind}`}>
      <circle r="64" className="place-disc" />
      <path d={icon} className="place-icon" transform="translate(0 -31)" />
      <text y="13" className="place-value">{value}<tspan className="place-unit" dx="4">{unit}</tspan></text>
      <text y="35" className="place-label">{label}</text>
    </g>
  );
}

const RADIUS = 76;
const ROUND = 2 * Math.PI * RADIUS;

/** The house, with a ring that tells how much of its power is the sun's. */
function House({ x, y, flow }: { x: number; y: number; flow: Flow }) {
  const { value, unit } = power(flow.house);
  const share = flow.house !== null && flow.house > 0 ? Math.min(1, flow.fromSolar / flow.house) : 0;
  const none = flow.house === null || flow.house === 0;
  return (
    <g transform={`translate(${x} ${y})`} className="place place-home">
      <circle r={RADIUS} className="place-disc" />
      <circle r={RADIUS} className={none ? "ring" : "ring ring-grid"} />
      {share > 0.005 && (
        <circle r={RADIUS} className="ring ring-solar" transform="rotate(-90)" strokeDasharray={`${share * ROUND} ${ROUND}`} />
      )}
      <path d={HOME} className="place-icon" transform="translate(0 -36)" />
      <text y="14" className="place-value place-value-home">{value}<tspan className="place-unit" dx="4">{unit}</tspan></text>
      <text y="38" className="place-label">{t("now.house")}</text>
    </g>
  );
}
