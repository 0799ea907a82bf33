/** Light, dark, or as the device says. */

import { Store } from "@/lib/store";

export type Theme = "auto" | "light" | "dark";
const KEY = "theme";

function stored(): Theme {
  const value = localStorage.getItem(KEY);
  return value === "light" || value === "dark" ? value : "auto";
}

export const theme = new Store<Theme>(stored());
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
/** Counts changes of colours, so that what is painted on a canvas is painted anew. */
export const paint = new Store(0);

function apply(): void {
  const wanted = theme.get();
  if (wanted === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = wanted;
  paint.update((n) => n + 1);
}

export function setTheme(value: Theme): void {
  if (value === "auto") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, value);
  theme.set(value);
  apply();
}

prefersDark.addEventListener("change", apply);
apply();

const probe = document.createElement("i");
probe.hidden = true;
document.documentElement.append(probe);

/** The family that text is set in, for canvases. */
export function font(): string {
  return getComputedStyle(document.body).fontFamily;
}

/** The present value of a design token that is a colour, for canvases: they know no light-dark(). */
export function token(name: string): string {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}
