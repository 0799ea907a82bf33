/** What a column of a table may mean, in which unit, and how the gateway is told (`p_kw:1000`). */

export type ImportField = "p" | "q" | "v" | "i" | "f" | "wh_in" | "wh_out" | "temp";
export const FIELDS: readonly ImportField[] = ["p", "q", "v", "i", "f", "wh_in", "wh_out", "temp"];

export interface Unit { name: string; factor: number; perStep?: boolean }

/** Units by field; a factor turns the column's number into the gateway's unit. */
export const UNITS: Record<ImportField, readonly Unit[]> = {
  p: [{ name: "W", factor: 1 }, { name: "kW", factor: 1000 }, { name: "MW", factor: 1_000_000 }, { name: "kWh", factor: 1000, perStep: true }, { name: "Wh", factor: 1, perStep: true }],
  q: [{ name: "var", factor: 1 }, { name: "kvar", factor: 1000 }, { name: "kvarh", factor: 1000, perStep: true }],
  v: [{ name: "V", factor: 1 }, { name: "kV", factor: 1000 }],
  i: [{ name: "A", factor: 1 }, { name: "mA", factor: 0.001 }],
  f: [{ name: "Hz", factor: 1 }],
  wh_in: [{ name: "Wh", factor: 1 }, { name: "kWh", factor: 1000 }, { name: "MWh", factor: 1_000_000 }],
  wh_out: [{ name: "Wh", factor: 1 }, { name: "kWh", factor: 1000 }, { name: "MWh", factor: 1_000_000 }],
  temp: [{ name: "°C", factor: 1 }],
};

/** What an import's `map` says of one column: its target (`p`, `l2.i`), and a factor. */
export interface Meaning { target: string; factor: number }

/** The factor of a unit; energy of each row becomes power over the row's length. */
export function factorOf(unit: Unit, stepS: number | null): number {
  return unit.perStep ? (unit.factor * 3600) / (stepS ?? 900) : unit.factor;
}

export function unitOf(target: string, factor: number, stepS: number | null): Unit | undefined {
  const field = fieldOf(target);
  return field === null ? undefined : UNITS[field].find((unit) => Math.abs(factorOf(unit, stepS) - factor) < 1e-9);
}

/** What the gateway is told that a column is: a temperature goes by the column's own name. */
export function targetOf(field: string, column: string): string {
  if (field !== "temp") return field;
  const name = column.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^[^a-z]+|_+$/g, "").slice(0, 27) || "oil";
  return `aux.${name.includes("temp") ? name : `${name}_temp`}`;
}

/** The field of a target like `p`, `l2.p` or `aux.oil_temp`. */
export function fieldOf(target: string): ImportField | null {
  if (target.startsWith("aux.") && target.includes("temp")) return "temp";
  const last = target.split(".").at(-1) ?? "";
  return FIELDS.find((field) => field === last) ?? null;
}

/** Read `{"p":"p_kw:1000"}` by column; what joins columns (`a-b`) is kept under its own text. */
export function meaningsOf(map: Record<string, string>): Record<string, Meaning> {
  const found: Record<string, Meaning> = {};
  for (const [target, source] of Object.entries(map)) {
    const colon = source.lastIndexOf(":");
    const factor = colon < 0 ? 1 : Number(source.slice(colon + 1));
    const column = colon < 0 || Number.isNaN(factor) ? source : source.slice(0, colon);
    found[column] = { target, factor: Number.isNaN(factor) ? 1 : factor };
  }
  return found;
}

export function mapOf(meanings: Record<string, Meaning>): Record<string, string> {
  return Object.fromEntries(Object.entries(meanings).map(([column, { target, factor }]) => [target, factor === 1 ? column : `${column}:${factor}`]));
}
