// What is shown is kept fresh by one stream: the server answers all paths that are on the screen again whenever they change.
import { signal, type Signal } from "@preact/signals";
import { useEffect, useMemo, useState } from "preact/hooks";
import { exact, get, loggedIn, Problem, problemOf, stream } from "./api";

export interface Live<T> {
  data?: T;
  error?: Problem;
}

interface Entry {
  users: number;
  value: Signal<Live<unknown>>;
}

const entries = new Map<string, Entry>();
let running: AbortController | undefined;
let scheduled = 0;

/** connected is whether the stream is there; undefined before the first answer. */
export const connected = signal<boolean | undefined>(undefined);

/** useLive is what a path answers, kept fresh. A path may begin with an interval ("15s /v1/map") and hold {now} and {now-15m}. */
export function useLive<T>(path: string | null): Live<T> {
  const entry = useMemo(() => (path === null ? undefined : entryOf(path)), [path]);
  useEffect(() => {
    if (path === null || !entry) return;
    entries.set(path, entry);
    if (entry.users++ === 0) reconnect();
    return () => {
      if (--entry.users > 0) return;
      // Another screen may ask for it in a moment; what nobody has asked for after that is forgotten.
      setTimeout(() => {
        if (entry.users === 0 && entries.get(path) === entry) {
          entries.delete(path);
          reconnect();
        }
      }, 500);
    };
  }, [path]);
  return (entry?.value.value ?? {}) as Live<T>;
}

function entryOf(path: string): Entry {
  return entries.get(path) ?? { users: 0, value: signal({}) };
}

function reconnect() {
  clearTimeout(scheduled);
  scheduled = window.setTimeout(connect, 20);
}

async function connect() {
  running?.abort();
  const paths = [...entries].filter(([, e]) => e.users > 0).map(([path]) => path);
  // A page that nobody looks at holds no connection: browsers have six for one address.
  if (paths.length === 0 || document.hidden || !loggedIn.value) return;
  const mine = (running = new AbortController());
  try {
    await stream<{ get: string; status: number; body: unknown }>(
      "/v1/watch?" + paths.map((p) => "get=" + encodeURIComponent(p)).join("&"),
      (a) => {
        connected.value = true;
        const entry = entries.get(a.get);
        if (!entry) return;
        entry.value.value = a.status < 400 ? { data: a.body } : { data: entry.value.value.data, error: problemOf(a.body, a.status) };
      },
      mine.signal,
      (text) => (text.startsWith('{"get":"1s /v1/saga-instances/') ? exact(text) : JSON.parse(text)), // an operator sends parts of it back
    );
  } catch (e) {
    if (e instanceof Problem && e.status >= 400) {
      for (const p of paths) {
        const entry = entries.get(p);
        if (entry && !entry.value.value.data) entry.value.value = { error: e };
      }
    }
  }
  if (mine.signal.aborted) return; // another has taken its place, or nobody looks
  connected.value = false;
  scheduled = window.setTimeout(connect, 1000);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) running?.abort();
  else reconnect();
});
loggedIn.subscribe((yes) => yes && reconnect());

export interface Asked<T> extends Live<T> {
  loading: boolean;
  again: () => void;
}

/** useAsk asks once, and again when the path changes or again is called. What was there stays until the new answer comes. Whole, all numbers
 * are kept as they are written: see exact. */
export function useAsk<T>(path: string | null, whole = false): Asked<T> {
  const [state, setState] = useState<Live<T> & { for?: string | null }>({});
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (path === null) {
      setState({ for: null });
      return;
    }
    const abort = new AbortController();
    get<T>(path, abort.signal, whole)
      .then((data) => setState({ data, for: path }))
      .catch((error) => !abort.signal.aborted && setState((s) => ({ data: s.data, error, for: path })));
    return () => abort.abort();
  }, [path, round]);
  return { data: state.data, error: state.for === path ? state.error : undefined, loading: state.for !== path, again: () => setRound((n) => n + 1) };
}
