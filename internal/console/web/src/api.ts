// The control API. The token is kept for this origin alone and sent by hand, never as a cookie.
import { signal } from "@preact/signals";

const tokenKey = "atoll.token";

/** loggedIn is whether there is a session. */
export const loggedIn = signal(stored(tokenKey) !== null);

export function stored(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function store(key: string, value: string | null) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // A browser that keeps nothing forgets it with the page.
  }
}

/** Problem is an error of the API. */
export class Problem extends Error {
  constructor(
    readonly code: string,
    readonly detail: string,
    readonly remedy: string,
    readonly status: number,
    readonly column = 0,
    readonly width = 0,
  ) {
    super(detail);
  }
}

const gone = () => new Problem("unreachable", "Atoll does not answer.", "See whether it still runs: atoll ps. This page goes on by itself when it does.", 0);

/** problemOf reads a problem document. */
export function problemOf(body: unknown, status: number): Problem {
  const p = (body ?? {}) as Record<string, unknown>;
  const text = (v: unknown) => (typeof v === "string" ? v : "");
  return new Problem(
    text(p.code) || `status-${status}`,
    text(p.detail) || text(p.error) || text(p.title) || `The answer has the status ${status}.`,
    text(p.remedy),
    status,
    Number(p.column) || 0,
    Number(p.width) || 0,
  );
}

export async function send(method: string, path: string, body?: unknown, signal?: AbortSignal, accept = "application/json"): Promise<Response> {
  const headers: Record<string, string> = { Accept: accept, Authorization: `Bearer ${stored(tokenKey) ?? ""}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer: Response;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? null : JSON.stringify(body), signal: signal ?? null, cache: "no-store" });
  } catch (e) {
    if (signal?.aborted) throw e;
    throw gone();
  }
  if (answer.ok) return answer;
  const problem = problemOf(await answer.json().catch(() => null), answer.status);
  if (problem.code === "control-refused") {
    store(tokenKey, null);
    loggedIn.value = false;
  }
  throw problem;
}

export async function get<T>(path: string, signal?: AbortSignal, whole = false): Promise<T> {
  const answer = await send("GET", path, undefined, signal);
  return whole ? (exact(await answer.text()) as T) : answer.json();
}

/** exact reads JSON whose numbers are written again as they were, which matters where a person changes a part of it: a browser's own
 * numbers have 53 bits, and the ids of many services 64. Those that do not fit are no numbers in what it returns. */
export function exact(text: string): unknown {
  const raw = (JSON as unknown as { rawJSON?: (text: string) => unknown }).rawJSON;
  if (!raw) return JSON.parse(text); // an older browser
  const keep = (_: string, value: unknown, context?: { source?: string }) =>
    typeof value === "number" && context?.source && Math.abs(value) > Number.MAX_SAFE_INTEGER && String(value) !== context.source ? raw(context.source) : value;
  return JSON.parse(text, keep as (key: string, value: unknown) => unknown);
}

export async function post<T>(path: string, body: unknown = {}, signal?: AbortSignal): Promise<T> {
  const answer = await send("POST", path, body, signal);
  return answer.status === 204 ? (undefined as T) : answer.json();
}

export async function del<T>(path: string): Promise<T> {
  const answer = await send("DELETE", path);
  return answer.status === 204 ? (undefined as T) : answer.json();
}

/** q makes the query of a path; what is undefined or empty is left out. */
export function q(params: Record<string, string | number | boolean | undefined>): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== "") parts.push(`${name}=${encodeURIComponent(String(value))}`);
  }
  return parts.length ? "?" + parts.join("&") : "";
}

/** stream reads server-sent events until the server ends or signal is aborted. */
export async function stream<T>(path: string, take: (item: T) => void, signal: AbortSignal, parse: (text: string) => unknown = JSON.parse): Promise<void> {
  const answer = await send("GET", path, undefined, signal, "text/event-stream");
  const reader = answer.body!.pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  for (;;) {
    let part: ReadableStreamReadResult<string>;
    try {
      part = await reader.read();
    } catch (e) {
      if (signal.aborted) return;
      throw gone();
    }
    if (part.done) return;
    const events = (rest + part.value).split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) if (event.startsWith("data: ")) take(parse(event.slice(6)) as T);
  }
}

/** login begins a session with the code of a link. */
export async function login(code: string): Promise<void> {
  const { token } = await post<{ token: string }>("/login", { code });
  store(tokenKey, token);
  loggedIn.value = true;
}

/** logout ends the session of this browser. */
export async function logout(): Promise<void> {
  await send("POST", "/logout").catch(() => undefined);
  store(tokenKey, null);
  loggedIn.value = false;
}
