// Questions to the metrics, in PromQL.
import { q } from "../api";
import { useAsk, useLive, type Live } from "../live";
import { bounds, moving, range, stepOf } from "../time";
import { useMemo } from "preact/hooks";
import type { PromAnswer, PromSeries } from "../types";
import type { Line } from "./plot";

/** Course is the answer to a query over the range of time, ready to be drawn. */
export interface Course {
  times: number[];
  lines: (Line & { labels: Record<string, string> })[];
}

/** label is a text in a PromQL selector. */
export const label = (text: string) => JSON.stringify(text);

/** useCourse asks a query over the range of time in the address; while that moves the answer is kept fresh. */
export function useCourse(query: string | null, every = "15s") {
  const still = range.value.minutes === undefined;
  const step = stepOf();
  const ends = useMemo(() => {
    const { from, to } = bounds();
    return { start: from.toISOString(), end: to.toISOString() };
  }, [range.value]);
  const { from, to } = moving();
  const path = (start: string, end: string) => "/prometheus/api/v1/query_range" + q({ query: query ?? "", start, end, step });
  const a = useLive<PromAnswer>(query && !still ? `${every} ${path(from, to)}` : null);
  const b = useAsk<PromAnswer>(query && still ? path(ends.start, ends.end) : null);
  const of = still ? b : a;
  const course = useMemo(() => of.data?.data && courseOf(of.data.data.result, step, bounds()), [of.data]);
  return { ...of, course };
}

/** useInstant keeps the values of a query fresh, at the end of the range of time in the address. */
export function useInstant(query: string): Live<PromAnswer> {
  const { minutes, to } = range.value;
  return useLive<PromAnswer>((minutes === undefined ? "60s" : "15s") + " /prometheus/api/v1/query" + q({ query, time: minutes === undefined ? to!.toISOString() : undefined }));
}

/** rateWindow is the window that rates are taken over: no shorter than four readings, no longer than needed. */
export const rateWindow = () => `${Math.max(60, stepOf() * 2)}s`;

/** whole is the range of time in the address, as a window. */
export function whole(): string {
  const { from, to } = bounds();
  return `${Math.max(1, Math.round((+to - +from) / 1000))}s`;
}

/** courseOf lays series over one row of times, which spans the range: where nothing was measured, nothing is drawn. */
function courseOf(series: PromSeries[], step: number, range: { from: Date; to: Date }): Course {
  let first = Infinity;
  let last = -Infinity;
  for (const s of series) {
    first = Math.min(first, s.values?.[0]?.[0] ?? Infinity);
    last = Math.max(last, s.values?.at(-1)?.[0] ?? -Infinity);
  }
  const more = (seconds: number) => Math.max(0, Math.floor(seconds / step)) * step;
  first -= more(first - +range.from / 1000);
  last += more(+range.to / 1000 - last);
  const times: number[] = [];
  for (let i = 0; first + i * step <= last + step / 2 && i < 11_000; i++) times.push(first + i * step);
  const lines = series.map((s) => {
    const values: (number | null)[] = times.map(() => null);
    for (const [t, v] of s.values ?? []) {
      const n = Number(v);
      values[Math.round((t - first) / step)] = Number.isFinite(n) ? n : null;
    }
    return { label: nameOf(s.metric), values, labels: s.metric };
  });
  return { times, lines };
}

/** nameOf is a series as it is written: its name and its labels. */
export function nameOf(metric: Record<string, string>): string {
  const { __name__: name = "", ...labels } = metric;
  const list = Object.entries(labels).map(([k, v]) => `${k}=${JSON.stringify(v)}`);
  return name + (list.length ? `{${list.join(", ")}}` : "") || "value";
}
