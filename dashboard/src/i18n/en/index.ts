/** English: the catalogue that others translate. */

import { alerts } from "@/i18n/en/alerts";
import { common } from "@/i18n/en/common";
import { history } from "@/i18n/en/history";
import { home } from "@/i18n/en/home";
import { operate } from "@/i18n/en/operate";
import { system } from "@/i18n/en/system";

export const en = { ...common, ...home, ...history, ...alerts, ...operate, ...system } as const;
