/** The service worker: keeps the app's files, so that it opens at once and without the network. */

import { Store } from "@/lib/store";

interface InstallEvent extends Event { prompt: () => Promise<unknown> }

/** The browser's own offer to install; null where it has none (or it is installed). */
export const installOffer = new Store<InstallEvent | null>(null);

export const isSecure = window.isSecureContext;

export function startWorker(): void {
  window.addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    installOffer.set(event as InstallEvent);
  });
  window.addEventListener("appinstalled", () => installOffer.set(null));
  if (import.meta.env.PROD && "serviceWorker" in navigator) {
    // A failure leaves the page as it is over plain HTTP: it works, but only with the network.
    navigator.serviceWorker.register("/sw.js").catch(() => undefined);
  }
}
