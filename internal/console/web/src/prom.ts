// Questions to Prometheus' HTTP API, and what it answers as columns.
import { moving, range, stepOf } from "./time";
import { q } from "./api";
import { useLive, type Live } from "./live";
import type { PromAnswer } from "./types";

export interface Matrix {
  times: number[]; // seconds since 1970
  series: { labels: Record<string, string>; values: (number | null)[] }[];
}

const cache = new WeakMap<PromAnswer, Matrix>();

/** matrix puts all series onto the same times; where one has no sample it is null. */
export function matrix(answer: PromAnswer | undefined): Matrix | undefined {
  if (!answer?.data) return undefined;
  const known = cache.get(answer);
  if (known) return known;
  const all = new Set<number>();
  for (const s of answer.data.result) for (const [t] of s.values ?? []) all.add(t);
  const times = [...all].sort((a, b) => a - b);
  const at = new Map(times.map((t, i) => [t, i]));
  const series = answer.data.result.map((s) => {
    const values: (number | null)[] = new Array(times.length).fill(null);
    for (const [t, v] of s.values ?? []) {
      const n = Number(v);
      values[at.get(t)!] = isFinite(n) ? n : null;
    }
    return { labels: s.metric, values };
  });
  const made = { times, series };
  cache.set(answer, made);
  return made;
}

/** rangePath is the path of a query over the range of time. */
export function rangePath(query: string, points = 120): string {
  const { from, to } = moving();
  return "/prometheus/api/v1/query_range" + q({ query, start: from, end: to, step: stepOf(range.value, points) });
}

/** useRange keeps a query over the range of time fresh. */
export function useRange(query: string, points = 120): Live<PromAnswer> {
  return useLive<PromAnswer>("15s " + rangePath(query, points));
}

/** useInstant keeps the present value of a query fresh. */
export function useInstant(query: string): Live<PromAnswer> {
  return useLive<PromAnswer>("15s /prometheus/api/v1/query" + q({ query }));
}

/** text quotes a value for PromQL. */
export const text = (value: string) => JSON.stringify(value);

/** window is the range that a rate is taken over: at least four scrapes. */
export const rateWindow = () => `${Math.max(60, stepOf() * 2)}s`;

/** whole is the range of time as PromQL writes it. */
export function whole(): string {
  const r = range.value;
  const seconds = r.minutes !== undefined ? r.minutes * 60 : Math.round((+r.to! - +r.from!) / 1000);
  return `${Math.max(1, seconds)}s`;
}
