/// <reference lib="webworker" />
/** Service worker: serves the app's own files from a cache, never an answer of the API. */

export type {}; // a module of its own: `self` is a worker here
declare const self: ServiceWorkerGlobalScope;
// Filled in by the build: see vite.config.ts.
declare const __BUILD__: { version: string; files: string[] };

const build = __BUILD__;
const NAME = `wattwarden-${build.version}`;
// What the gateway answers itself.
const NOT_OURS = /^\/(api|trust\/|healthz|readyz|metrics|openapi\.json)/;
const PATIENCE_MS = 2500;

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(NAME).then((cache) => cache.addAll(build.files)).then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches.keys()
      .then((names) => Promise.all(names.filter((name) => name !== NAME).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== self.location.origin || NOT_OURS.test(url.pathname)) return;
  event.respondWith(event.request.mode === "navigate" ? page(event.request) : file(event.request));
});

/** The page is the newest where the gateway answers soon, else the one kept. */
async function page(request: Request): Promise<Response> {
  const kept = await caches.match("/");
  try {
    const answer = await fetch(request, kept ? { signal: AbortSignal.timeout(PATIENCE_MS) } : {});
    if (answer.ok || !kept) return answer;
  } catch (error) {
    if (!kept) throw error;
  }
  return kept;
}

async function file(request: Request): Promise<Response> {
  return (await caches.match(request)) ?? fetch(request);
}

// What Firebase Cloud Messaging hands to a browser: our notification, and the alert it is about.
interface Shown { title?: string; body?: string; tag?: string; renotify?: boolean; silent?: boolean; requireInteraction?: boolean }
interface Push { notification?: Shown; data?: { alert?: string; alerts?: string; tag?: string } }

self.addEventListener("push", (event) => {
  const { notification: shown = {}, data = {} } = read(event.data);
  const one = data.alert !== undefined && (data.alerts ?? "1") === "1";
  const options: NotificationOptions & { renotify?: boolean } = {
    body: shown.body ?? "",
    icon: "/icon-192.png",
    badge: "/icon-192.png",
    tag: shown.tag ?? data.tag ?? "wattwarden", // the same tag replaces its forerunner
    renotify: shown.renotify ?? false,
    silent: shown.silent ?? false,
    requireInteraction: shown.requireInteraction ?? false,
    data: { url: one ? `/alerts/${encodeURIComponent(data.alert ?? "")}` : "/alerts" },
  };
  event.waitUntil(self.registration.showNotification(shown.title ?? "Wattwarden", options));
});

/** A browser that is pushed to must show something, also where it cannot be read. */
function read(data: PushMessageData | null): Push {
  try {
    return (data?.json() ?? {}) as Push;
  } catch {
    return {};
  }
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const { url } = event.notification.data as { url: string };
  event.waitUntil(open(url));
});

/** Show an address in the window that is there, else in a new one. */
async function open(url: string): Promise<void> {
  const [window] = await self.clients.matchAll({ type: "window" });
  if (window) {
    await window.focus();
    await window.navigate(url);
  } else {
    await self.clients.openWindow(url);
  }
}
