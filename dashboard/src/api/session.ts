/** Who is logged in; `undefined` until known, null when nobody is. */

import { ApiError, get, onApi, send } from "@/api/client";
import { follow, unfollow } from "@/api/live";
import { forgetAnswers } from "@/api/query";
import type { Me } from "@/api/types";
import { Store, useStore } from "@/lib/store";
import { refreshPush } from "@/push";

export interface Session { me: Me | null | undefined; setupNeeded: boolean; ended: boolean; away: boolean }
export const session = new Store<Session>({ me: undefined, setupNeeded: false, ended: false, away: false });

function ended(): void {
  unfollow();
  forgetAnswers();
  session.update((s) => ({ ...s, me: null, ended: s.me !== null && s.me !== undefined, away: false }));
}

function begun(me: Me): void {
  session.set({ me, setupNeeded: false, ended: false, away: false });
  follow(ended);
  void refreshPush();
}

onApi({
  loggedOut: () => {
    if (session.get().me) ended();
  },
});

/** Find out who is logged in; the gateway may be away at first. */
export async function resume(): Promise<void> {
  try {
    begun(await get<Me>("auth/me"));
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      const setup = await get<{ needed: boolean }>("setup").catch(() => ({ needed: false }));
      session.set({ me: null, setupNeeded: setup.needed, ended: false, away: false });
      return;
    }
    session.update((s) => ({ ...s, away: true }));
    setTimeout(() => void resume(), 2000);
  }
}

export async function login(username: string, password: string): Promise<void> {
  begun(await send<Me>("POST", "auth/login", { username, password }));
}

export async function setUp(code: string, username: string, password: string): Promise<void> {
  await send("POST", "setup", { code, username, password });
  await login(username, password);
}

export async function logout(): Promise<void> {
  await send("POST", "auth/logout").catch(() => undefined);
  unfollow();
  forgetAnswers();
  session.set({ me: null, setupNeeded: false, ended: false, away: false });
}

export function useMe(): Me {
  const me = useStore(session).me;
  if (!me) throw new Error("nobody is logged in");
  return me;
}

const RANKS = { viewer: 0, operator: 1, admin: 2 } as const;

export function useMay(role: keyof typeof RANKS): boolean {
  return RANKS[useMe().role] >= RANKS[role];
}
