/** What the gateway's API answers (docs/api.md); times are Unix milliseconds UTC. */

export type UserRole = "admin" | "operator" | "viewer";
export interface Me { username: string; role: UserRole }
export interface Page<T> { items: T[]; next: string | null }

export type ChannelRole = "grid" | "solar" | "load";
export interface ChannelInfo { role: ChannelRole; rating_a: number | null }
export interface ChannelValues {
  i: number | null;
  p: number | null;
  q: number | null;
  v: number | null;
  wh_in: number | null;
  wh_out: number | null;
}
export interface Reading {
  t: number;
  dt: number;
  v: number | null;
  f: number | null;
  ch: Record<string, ChannelValues>;
  flags: string[];
}
export interface ReadingEvent extends Reading { meter: string; boot: number; seq: number }
export interface Diagnostics {
  rssi_dbm: number | null;
  heap_bytes: number | null;
  backlog: number | null;
  up_ms: number | null;
  starts: number | null;
}
export interface MeterState {
  id: string;
  label: string;
  recorded: boolean;
  registered: number;
  online: boolean;
  state_at: number | null;
  versions: { fw: string | null; model: number | null; cal: number | null };
  channels: Record<string, ChannelInfo>;
  diagnostics: Diagnostics | null;
}
export interface Meter extends MeterState { last: Reading | null }

export type Severity = "warning" | "critical";
export type AlertState = "open" | "acknowledged" | "resolved";
export interface Alert {
  id: string;
  meter: string | null;
  channel: string | null;
  kind: string;
  severity: Severity;
  state: AlertState;
  opened: number;
  updated: number;
  resolved: number | null;
  count: number;
  title: string;
  detail: string;
  evidence: Record<string, number | string | null>;
  snoozed_until: number | null;
  muted?: boolean;
  history: { at: number; who: string; what: string }[];
}
export interface Mute {
  id: string;
  meter: string | null;
  channel: string | null;
  kind: string;
  until_ms: number | null;
  created_ms: number;
  created_by: string;
}

export type Resolution = "raw" | "1m" | "15m" | "1h" | "1d";
export interface Gap { from: number; to: number; state: "provisional" | "final" }
export type Field = "p" | "p_min" | "p_max" | "q" | "v" | "v_min" | "v_max" | "i" | "f" | "pf";
export type Series = { resolution: Resolution; t: number[]; gaps: Gap[] } & Partial<
  Record<Field, (number | null)[]>
>;

export interface Cost {
  currency: string;
  import: number;
  feed_in: number;
  standing: number;
  total: number;
  estimated: boolean;
  complete: boolean;
  basis: "grid" | "load";
}
export interface SolarUse {
  generated_kwh: number;
  self_consumed_kwh: number;
  exported_kwh: number;
  imported_kwh: number;
  consumed_kwh: number;
  self_consumption: number | null;
  self_sufficiency: number | null;
}
export interface Interval {
  from: number;
  to: number;
  partial: boolean;
  channels: Record<string, { kwh_in: number | null; kwh_out: number | null; estimated: boolean }>;
  solar: SolarUse | null;
  cost: Cost | null;
}
export type Period = "hour" | "day" | "month";
export interface Energy { by: Period; timezone: string; items: Interval[] }

export interface PriceEntry { days: number[]; from: string; to: string; price_per_kwh: number }
export interface Tariff {
  id: string;
  name: string;
  valid_from: string;
  currency: string;
  import: PriceEntry[];
  feed_in_per_kwh: number;
  standing_per_day: number;
}
export type TariffDraft = Omit<Tariff, "id">;

export type NodeKind = "transformer" | "feeder" | "group" | "meter";
export interface SiteNode {
  id: string;
  name: string;
  kind: NodeKind;
  parent: string | null;
  meter: string | null;
  channel: string | null;
}
export interface SiteTree { nodes: SiteNode[]; version: number }
export type NodeStateName = "normal" | "warning" | "critical" | "silent";
export interface NodeState {
  id: string;
  state: NodeStateName;
  p_w: number | null;
  children_p_w: number | null;
  difference_w: number | null;
  at_ms: number | null;
}

export type ImportState =
  | "preview" | "waiting" | "running" | "judging" | "done" | "failed" | "undoing" | "undone";
export interface ImportJob {
  id: string;
  file: string;
  size_bytes: number;
  created_ms: number;
  created_by: string;
  state: ImportState;
  columns: string[];
  preview: string[][];
  rows: number;
  guess: {
    time: string | null;
    timezone: string;
    map: Record<string, string>;
    meter: string | null;
    step_s: number | null;
    date_order?: string | null;
  };
  rows_done: number;
  rows_total: number;
  errors: { line: number; column: string | null; text: string }[];
  error_count: number;
  error: string | null;
  meter: string | null;
  channel: string | null;
  timezone: string | null;
  from_ms: number | null;
  to_ms: number | null;
  alerts: number;
  finished_ms: number | null;
}

export interface Status {
  version: string;
  uptime: number;
  services: Record<string, { state: string; error: string; retries: number }>;
  backlog: { ingest: number; judge: number; cloud: number };
  offline_days_left: number | null;
  disk: { used_bytes: number; allowed_bytes: number; free_bytes: number };
  clock: { trusted: boolean };
  models: { meter: string; channel: string; kind: string; fitted: number }[];
  dead_letters: Record<string, number>;
  alerts: Record<string, number>;
}
export interface ModelInUse {
  meter: string;
  channel: string | null;
  kind: string;
  slot: string;
  version: number | string | null;
  fitted_ms: number | null;
  where: "gateway" | "meter";
  /** Of what came from the repository; null for what is fitted here or runs in a meter. */
  path: string | null;
  since_ms: number | null;
  why: string | null;
  minutes: number | null;
  alarms: number | null;
  champion_alarms: number | null;
}
export interface User { name: string; role: UserRole; created?: number | null }
export interface Token {
  name: string;
  role: UserRole;
  created?: number | null;
  expires?: number | null;
  seen?: number | null;
}
export interface LogLine { at_ms: number; level: string; event: string; text: string }
export interface AuditEntry { at: number; who: string; what: string; detail?: string }
export interface SettingsSubset {
  values: Record<string, number | string | boolean | null>;
  file: Record<string, number | string | boolean | null>;
  changed: string[];
  limits: Record<string, { minimum?: number; maximum?: number; choices?: string[]; unit?: string }>;
}
export interface Trust {
  available: boolean;
  name: string | null;
  fingerprint_sha256: string | null;
  not_before_ms: number | null;
  not_after_ms: number | null;
  ca_url: string | null;
  page_url: string | null;
  https_url: string | null;
  secure: boolean;
}
export interface Calibration {
  version: number;
  made: number;
  by: string;
  state: string;
  why: string;
  reference: { name: string; class_pct: number } | null; // of nominal parts
  loads: { channel: string; p: number; factor: number; p_pct: number }[];
  checks: { passed: boolean }[];
}
