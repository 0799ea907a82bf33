/** Addresses of the app's pages, by the browser's history. */

import { Store, useStore } from "@/lib/store";

export interface Place { path: string; query: URLSearchParams }

function read(): Place {
  return { path: location.pathname, query: new URLSearchParams(location.search) };
}

const place = new Store(read());
window.addEventListener("popstate", () => place.set(read()));

export function go(to: string, options: { replace?: boolean } = {}): void {
  const from = location.pathname;
  if (options.replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  place.set(read());
  if (!options.replace && location.pathname !== from) window.scrollTo(0, 0);
}

/** Change parts of the query; null takes one away. */
export function ask(changes: Record<string, string | null>): void {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  go(location.pathname + (text ? `?${text}` : ""), { replace: true });
}

export function usePlace(): Place {
  return useStore(place);
}
