/** The live state of the site: meters and alerts as the stream tells them, and whether it does. */

import { all, get } from "@/api/client";
import { events } from "@/api/events";
import type { Alert, Meter, MeterState, ReadingEvent } from "@/api/types";
import { Store } from "@/lib/store";

export type LinkState = "connecting" | "live" | "lost";
export interface Link { state: LinkState; since: number; wasLost: boolean }
export interface Live {
  meters: Record<string, Meter>;
  alerts: Record<string, Alert>;
  loaded: boolean;
}

const SILENCE_MS = 20_000; // the gateway sends at least a comment every 15 s
const PAUSES_MS = [500, 1000, 2000, 3000, 5000];
const LOST_AFTER_MS = 1500; // a restart of the stream alone is no news
const PAINT_MS = 200;
const MOST_KEPT = 500;

export const link = new Store<Link>({ state: "connecting", since: Date.now(), wasLost: false });
export const live = new Store<Live>({ meters: {}, alerts: {}, loaded: false });
/** How much this device's clock is ahead of the gateway's, in ms; 0 until known. */
export const skew = new Store(0);
export const now = new Store(Date.now());
/** Grows each time the gateway said that what was told may hold no more: ask for it again. */
export const resets = new Store(0);

let pending: Live | null = null;
let painting: ReturnType<typeof setTimeout> | undefined;

/** Gather what arrives in a burst into one change. */
function change(apply: (state: Live) => Live): void {
  pending = apply(pending ?? live.get());
  painting ??= setTimeout(flush, PAINT_MS);
}

function flush(): void {
  clearTimeout(painting);
  painting = undefined;
  if (pending) live.set(pending);
  pending = null;
}

export function takeReading(state: Live, event: ReadingEvent): Live {
  const meter = state.meters[event.meter];
  if (!meter) return state;
  const last = { t: event.t, dt: event.dt, v: event.v, f: event.f, ch: event.ch, flags: event.flags };
  return { ...state, meters: { ...state.meters, [event.meter]: { ...meter, last } } };
}

export function takeState(state: Live, event: MeterState): Live {
  const last = state.meters[event.id]?.last ?? null;
  return { ...state, meters: { ...state.meters, [event.id]: { ...event, last } } };
}

export function takeAlert(state: Live, alert: Alert): Live {
  const alerts = { ...state.alerts, [alert.id]: alert };
  const done = Object.values(alerts).filter((a) => a.state === "resolved");
  for (const old of done.sort((a, b) => b.updated - a.updated).slice(MOST_KEPT)) {
    Reflect.deleteProperty(alerts, old.id);
  }
  return { ...state, alerts };
}

export function noteAlert(alert: Alert): void {
  change((state) => takeAlert(state, alert));
  flush();
}

export function noteMeter(meter: Meter): void {
  change((state) => ({ ...state, meters: { ...state.meters, [meter.id]: meter } }));
  flush();
}

let stale = true; // what is held may hold no more, and asking anew has not succeeded yet

async function load(): Promise<void> {
  stale = true;
  const [meters, open, acknowledged] = await Promise.all([
    all<Meter>("meters"),
    all<Alert>("alerts", { state: "open" }, MOST_KEPT),
    all<Alert>("alerts", { state: "acknowledged" }, MOST_KEPT),
  ]);
  change((state) => takeAll(state, meters, [...open, ...acknowledged]));
  flush();
  stale = false;
}

/** What the gateway has now: all else is gone from it. */
export function takeAll(state: Live, meters: readonly Meter[], alerts: readonly Alert[]): Live {
  return {
    meters: Object.fromEntries(
      meters.map((meter) => [meter.id, newer(state.meters[meter.id], meter)]),
    ),
    alerts: Object.fromEntries(alerts.map((alert) => [alert.id, alert])),
    loaded: true,
  };
}

function newer(held: Meter | undefined, fetched: Meter): Meter {
  const isNewer = (held?.last?.t ?? 0) > (fetched.last?.t ?? 0);
  return isNewer ? { ...fetched, last: held?.last ?? null } : fetched;
}

/** Ask for the gateway's time: its answer to a file carries it (to the second). */
async function learnSkew(): Promise<void> {
  const asked = Date.now();
  const answer = await fetch("/manifest.webmanifest", { method: "HEAD", cache: "no-store" });
  const told = Date.parse(answer.headers.get("date") ?? "");
  if (!Number.isNaN(told)) skew.set(Math.round((asked + Date.now()) / 2 - (told + 500)));
}

class Follower {
  readonly #stop = new AbortController();
  #current: AbortController | null = null;
  #lastId: string | null = null;
  #heard = 0;
  #tries = 0;
  #wake: (() => void) | null = null;
  constructor(private readonly onLogout: () => void) {}

  start(): void {
    const clock = setInterval(() => this.#tick(), 1000);
    this.#stop.signal.addEventListener("abort", () => clearInterval(clock));
    const options = { signal: this.#stop.signal };
    window.addEventListener("online", () => this.hurry(), options);
    document.addEventListener("visibilitychange", () => {
      now.set(Date.now());
      if (!document.hidden) this.hurry();
    }, options);
    void this.#run();
  }

  stop(): void {
    this.#stop.abort();
    this.#current?.abort();
    this.#wake?.();
  }

  /** Try at once instead of after the pause; a stream that has been silent too long ends. */
  hurry(): void {
    this.#wake?.();
    if (this.#current && Date.now() - this.#heard > SILENCE_MS) this.#current.abort();
  }

  #tick(): void {
    now.set(Date.now());
    if (this.#current && this.#heard > 0 && Date.now() - this.#heard > SILENCE_MS) {
      this.#current.abort();
    }
    const state = link.get();
    if (state.state === "connecting" && Date.now() - state.since > LOST_AFTER_MS) {
      link.set({ ...state, state: "lost", wasLost: true });
    }
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#current = new AbortController();
      this.#heard = Date.now();
      try {
        await this.#follow(this.#current.signal);
      } catch {
        // The network is gone, or the stream was aborted for its silence: try again.
      }
      this.#current = null;
      if (link.get().state === "live") {
        link.set({ state: "connecting", since: Date.now(), wasLost: false });
      }
      const pause = PAUSES_MS[Math.min(this.#tries++, PAUSES_MS.length - 1)] ?? 5000;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pause);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const event of events("/api/v1/stream", this.#lastId, signal)) {
      this.#heard = Date.now();
      if ("status" in event) {
        if (event.status === 401) this.onLogout();
        if (event.status !== 200) return;
        this.#tries = 0;
        const before = link.get();
        link.set({ state: "live", since: Date.now(), wasLost: before.state === "lost" });
        if (stale || !live.get().loaded || before.state === "lost") {
          await load();
          void learnSkew().catch(() => undefined);
        }
        continue;
      }
      if (event.id !== null) this.#lastId = event.id;
      if (event.event === "logout") this.onLogout();
      else await take(event.event, event.data);
    }
  }
}

async function take(name: string, data: string): Promise<void> {
  if (name === "reading") {
    const reading = JSON.parse(data) as ReadingEvent;
    change((state) => takeReading(state, reading));
  } else if (name === "state") {
    const meter = JSON.parse(data) as MeterState;
    change((state) => takeState(state, meter));
  } else if (name === "alert") {
    const alert = JSON.parse(data) as Alert;
    change((state) => takeAlert(state, alert));
    await Promise.resolve();
  } else if (name === "reset") {
    resets.update((count) => count + 1);
    await load();
  }
}

let follower: Follower | null = null;

/** Follow the gateway until `unfollow`; `onLogout` is told when the login has ended. */
export function follow(onLogout: () => void): void {
  follower?.stop();
  live.set({ meters: {}, alerts: {}, loaded: false });
  link.set({ state: "connecting", since: Date.now(), wasLost: false });
  follower = new Follower(onLogout);
  follower.start();
}

export function unfollow(): void {
  follower?.stop();
  follower = null;
}

export function retryNow(): void {
  follower?.hurry();
}

/** Fetch one meter anew, after a change that the stream tells only later. */
export async function refreshMeter(id: string): Promise<void> {
  noteMeter(await get<Meter>(`meters/${encodeURIComponent(id)}`));
}
