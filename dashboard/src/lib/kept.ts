/** What this browser remembers of a choice. */

import { useState } from "react";

export function useKept<T extends string>(name: string, first: T): [T, (value: T) => void] {
  const [value, setValue] = useState<T>(() => (localStorage.getItem(name) as T | null) ?? first);
  return [value, (next) => {
    localStorage.setItem(name, next);
    setValue(next);
  }];
}
