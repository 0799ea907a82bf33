/** Fetch while a component is shown; what was fetched before is shown until the answer is here. */

import { useCallback, useEffect, useRef, useState } from "react";
import { ApiError, get, urlOf } from "@/api/client";
import { link, resets } from "@/api/live";
import { useStore } from "@/lib/store";
import { t } from "@/i18n";

type Params = Record<string, string | number | null | undefined>;
export interface Query<T> {
  data: T | undefined;
  error: ApiError | null;
  loading: boolean;
  reload: () => void;
}
interface Options { everyMs?: number; params?: Params; enabled?: boolean }

const held = new Map<string, unknown>();
const MOST_HELD = 60;

function hold(url: string, data: unknown): void {
  held.delete(url);
  held.set(url, data);
  for (const old of held.keys()) {
    if (held.size <= MOST_HELD) break;
    held.delete(old);
  }
}

/** Forget everything: another person may log in. */
export function forgetAnswers(): void {
  held.clear();
}

export function useQuery<T>(path: string | null, options: Options = {}): Query<T> {
  const { everyMs, params, enabled = true } = options;
  const url = path !== null && enabled ? urlOf(path, params) : null;
  const [answer, setAnswer] = useState<{ url: string; data?: T; error: ApiError | null } | null>(null);
  const [round, setRound] = useState(0);
  const linked = useStore(link).state;
  const anew = useStore(resets);
  const query = useRef({ path, params });
  useEffect(() => {
    query.current = { path, params };
  });

  useEffect(() => {
    if (url === null) return undefined;
    const abort = new AbortController();
    const load = async (): Promise<void> => {
      try {
        const data = await get<T>(query.current.path ?? "", query.current.params, abort.signal);
        hold(url, data);
        setAnswer({ url, data, error: null });
      } catch (error) {
        if (abort.signal.aborted) return;
        const told = error instanceof ApiError ? error : new ApiError(0, t("error.unknown"));
        if (told.missing) held.delete(url);
        setAnswer((before) =>
          !told.missing && before?.url === url && before.data !== undefined
            ? { ...before, error: told }
            : { url, error: told },
        );
      }
    };
    void load();
    const timer = everyMs === undefined ? undefined : setInterval(() => {
      if (!document.hidden) void load();
    }, everyMs);
    return () => {
      abort.abort();
      clearInterval(timer);
    };
  }, [url, everyMs, round, anew]);

  // What failed while the gateway was away is asked for again when it is back.
  const failed = answer?.error?.status === 0;
  const before = useRef(linked);
  useEffect(() => {
    if (linked === "live" && before.current !== "live" && failed) setRound((n) => n + 1);
    before.current = linked;
  }, [linked, failed]);

  const reload = useCallback(() => setRound((n) => n + 1), []);
  const fits = answer !== null && answer.url === url;
  const data = fits && answer.data !== undefined ? answer.data : (held.get(url ?? "") as T | undefined);
  return { data, error: fits ? answer.error : null, loading: url !== null && !fits, reload };
}
