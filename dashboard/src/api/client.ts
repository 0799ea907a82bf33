/** Calls to the gateway; every failure is an ApiError with words a person can use. */

import { t } from "@/i18n";

const ROOT = "/api/v1";
const PATIENCE_MS = 20_000;
/** Where a 401 says that a password is wrong, and ends no login. */
const ASK_PASSWORDS = new Set([`${ROOT}/auth/login`, `${ROOT}/auth/password`]);

export class ApiError extends Error {
  /** `status` 0: the gateway could not be reached. */
  constructor(readonly status: number, message: string, readonly waitS: number | null = null) {
    super(message);
  }
  get missing(): boolean {
    return this.status === 404 || this.status === 405;
  }
}

type Params = Record<string, string | number | boolean | null | undefined>;
interface Hooks { loggedOut: () => void; reached: (ok: boolean) => void }
const hooks: Hooks = { loggedOut: () => undefined, reached: () => undefined };

/** Be told when the login has ended, and whether the gateway answers. */
export function onApi(listeners: Partial<Hooks>): void {
  Object.assign(hooks, listeners);
}

export function urlOf(path: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined) query.set(name, String(value));
  }
  const text = query.toString();
  return `${ROOT}/${path}${text ? `?${text}` : ""}`;
}

async function call(url: string, init: RequestInit): Promise<Response> {
  const timeout = AbortSignal.timeout(PATIENCE_MS);
  const signal = init.signal ? AbortSignal.any([init.signal, timeout]) : timeout;
  let answer: Response;
  try {
    answer = await fetch(url, { credentials: "same-origin", ...init, signal });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    hooks.reached(false);
    throw new ApiError(0, t("error.unreachable"));
  }
  hooks.reached(true);
  if (answer.ok) return answer;
  if (answer.status === 401 && !ASK_PASSWORDS.has(url)) hooks.loggedOut();
  throw await problemOf(answer);
}

async function problemOf(answer: Response): Promise<ApiError> {
  const wait = Number(answer.headers.get("retry-after") ?? "");
  let text = "";
  try {
    const body = (await answer.json()) as { detail?: unknown };
    if (typeof body.detail === "string") text = body.detail;
  } catch {
    // Not a problem document: something between us and the gateway has answered.
  }
  return new ApiError(
    answer.status,
    text || t("error.status", { status: answer.status }),
    wait > 0 ? wait : null,
  );
}

export async function get<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  const answer = await call(urlOf(path, params), signal ? { signal } : {});
  return (await answer.json()) as T;
}

export async function send<T = null>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method };
  if (body instanceof FormData) {
    init.body = body;
  } else if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "content-type": "application/json" };
  }
  const answer = await call(urlOf(path), init);
  return (answer.status === 204 ? null : await answer.json()) as T;
}

/** All pages of a list, at most `most` items. */
export async function all<T>(path: string, params: Params = {}, most = 2000): Promise<T[]> {
  const found: T[] = [];
  let cursor: string | null = null;
  do {
    const page: { items: T[]; next: string | null } = await get(path, { ...params, cursor });
    found.push(...page.items);
    cursor = page.next;
  } while (cursor !== null && found.length < most);
  return found;
}

/** Upload with progress, which fetch cannot tell. */
export function upload<T>(path: string, file: File, progress: (share: number) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", urlOf(path));
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    };
    request.onerror = () => reject(new ApiError(0, t("error.unreachable")));
    request.onload = () => {
      const answer = new Response(request.responseText, { status: request.status });
      if (request.status === 401) hooks.loggedOut();
      if (answer.ok) resolve(JSON.parse(request.responseText) as T);
      else void problemOf(answer).then(reject);
    };
    const form = new FormData();
    form.append("file", file);
    request.send(form);
  });
}
