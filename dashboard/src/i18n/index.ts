/** Texts of the app: `t("now.title")` in the language chosen. Each language is one catalogue. */

import { en } from "@/i18n/en";

export type Key = keyof typeof en;
export type Text = string | { one: string; other: string };
export type Catalogue = Readonly<Record<Key, Text>>;
type Values = Record<string, string | number>;

/** To add a language: translate `en/` into a catalogue of its own and name it here. */
const CATALOGUES: Readonly<Record<string, Catalogue>> = { en };

function choose(): string {
  for (const wanted of navigator.languages) {
    const language = wanted.split("-")[0] ?? "";
    if (language in CATALOGUES) return language;
  }
  return "en";
}

export const language = choose();
/** Numbers and dates follow the browser's own region where its language is ours. */
export const locale = navigator.languages.find((tag) => tag.split("-")[0] === language) ?? language;
const catalogue: Catalogue = CATALOGUES[language] ?? en;
const plurals = new Intl.PluralRules(language);

export function t(key: Key, values: Values = {}): string {
  return fill(catalogue[key], values);
}

/** The text of a key that is put together from data, or `other` where the catalogue has none. */
export function tIf(key: string, other: string): string {
  return key in catalogue ? t(key as Key) : other;
}

export function fill(text: Text, values: Values): string {
  const form = typeof text === "string" ? text : plurals.select(Number(values.n)) === "one" ? text.one : text.other;
  return form.replaceAll(/\{(\w+)\}/g, (whole, name: string) =>
    name in values ? String(values[name]) : whole,
  );
}
