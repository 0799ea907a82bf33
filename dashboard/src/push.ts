/**
 * Pushes to this browser through Firebase Cloud Messaging.
 *
 * Google's part of it (`@firebase/messaging`) is loaded when somebody switches pushes on, never
 * before; what comes in is shown by our own service worker (sw.ts).
 */

import { ApiError, get, send } from "@/api/client";
import { language } from "@/i18n";
import { Store } from "@/lib/store";
import { isSecure } from "@/worker";

export interface WebConfig { apiKey: string; projectId: string; messagingSenderId: string; appId: string; vapidKey: string }
export interface Device { id: string; platform: string; name: string; token_end: string; created: number; seen: number }
/** Why this browser cannot be pushed to, whatever the gateway has; null: it can. */
export type Obstacle = "insecure" | "unsupported" | "denied" | null;

const KEPT = "push.device";
const SEEN = "push.seen";
const FRESH_MS = 7 * 86_400_000; // Google advises to renew a token that is a month old
/** The id under which the gateway knows this browser; null while it tells it nothing. */
export const ownDevice = new Store<string | null>(localStorage.getItem(KEPT));

export function obstacle(): Obstacle {
  if (!isSecure) return "insecure";
  if (!("Notification" in window) || !("PushManager" in window) || !("serviceWorker" in navigator)) return "unsupported";
  return Notification.permission === "denied" ? "denied" : null;
}

/** Words by which people tell their devices apart. */
export function deviceName(agent: string = navigator.userAgent): string {
  const browser = /Edg\//.test(agent) ? "Edge" : /Firefox\//.test(agent) ? "Firefox" : /Chrome\//.test(agent) ? "Chrome" : "Safari";
  const system = /iPhone|iPad/.test(agent) ? "iPhone" : /Android/.test(agent) ? "Android" : /Windows/.test(agent) ? "Windows" : /Mac OS/.test(agent) ? "Mac" : "Linux";
  return `${browser} · ${system}`;
}

/** Ask the person, then Google, and tell the gateway; false where the person says no. */
export async function switchOn(config: WebConfig): Promise<boolean> {
  if ((await Notification.requestPermission()) !== "granted") return false;
  await register(config);
  return true;
}

async function register(config: WebConfig): Promise<void> {
  // The gateway sends to registration tokens, as firebase-admin does.
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- its successor gives no such token
  const token = await withMessaging(config, (parts, messaging) => parts.getToken(messaging, {
    vapidKey: config.vapidKey, serviceWorkerRegistration: parts.worker,
  }));
  const device = await send<Device>("POST", "devices", { token, platform: "web", name: deviceName(), language });
  keep(device.id);
}

export async function switchOff(config: WebConfig | undefined): Promise<void> {
  const id = ownDevice.get();
  if (id !== null) {
    await send("DELETE", `devices/${id}`).catch((error: unknown) => {
      if (!(error instanceof ApiError && error.missing)) throw error; // gone already
    });
  }
  keep(null);
  // The gateway sends nothing any more; Google's forgetting may fail without the internet.
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- belongs to getToken
  if (config) await withMessaging(config, (parts, messaging) => parts.deleteToken(messaging)).catch(() => false);
}

/** Renew the registration now and then: tokens change, and those not seen for long make room. */
export async function refreshPush(): Promise<void> {
  if (ownDevice.get() === null || obstacle() !== null || Notification.permission !== "granted") return;
  if (Date.now() - Number(localStorage.getItem(SEEN) ?? 0) < FRESH_MS) return;
  try {
    const { items } = await get<{ items: Device[] }>("devices");
    if (!items.some((device) => device.id === ownDevice.get())) return; // it is another person's
    await register(await get<WebConfig>("cloud/web-config"));
  } catch {
    // The next visit tries again.
  }
}

function keep(id: string | null): void {
  if (id === null) {
    localStorage.removeItem(KEPT);
  } else {
    localStorage.setItem(KEPT, id);
    localStorage.setItem(SEEN, String(Date.now()));
  }
  ownDevice.set(id);
}

type Parts = typeof import("@firebase/messaging") & { worker: ServiceWorkerRegistration };
type Messaging = import("@firebase/messaging").Messaging;

async function withMessaging<T>(config: WebConfig, work: (parts: Parts, messaging: Messaging) => Promise<T>): Promise<T> {
  const [{ initializeApp, deleteApp }, parts] = await Promise.all([import("@firebase/app"), import("@firebase/messaging")]);
  const worker = await navigator.serviceWorker.ready;
  const { apiKey, projectId, messagingSenderId, appId } = config;
  const app = initializeApp({ apiKey, projectId, messagingSenderId, appId }, `wattwarden-${Date.now()}`);
  try {
    return await work({ ...parts, worker }, parts.getMessaging(app));
  } finally {
    void deleteApp(app);
  }
}
