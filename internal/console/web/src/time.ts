// Times and amounts as people read them, and the range of time that the screens are about.
import { computed } from "@preact/signals";
import { param, set } from "./url";

/** ranges are those that are offered, in minutes. */
export const ranges = [5, 15, 60, 360, 1440, 10080];

export interface Range {
  minutes?: number; // until now
  from?: Date;
  to?: Date;
}

/** range is the range of time in the address: t=15m, or t=FROM~TO; 15 minutes otherwise. */
export const range = computed<Range>(() => {
  const text = param("t");
  const [from, to] = text.split("~").map((p) => new Date(p));
  if (from && to && !isNaN(+from) && !isNaN(+to) && +to > +from) return { from, to };
  const m = /^(\d{1,6})m$/.exec(text);
  return { minutes: m ? Math.min(Math.max(Number(m[1]), 1), 44640) : 15 };
});

export function setRange(r: Range) {
  set({ t: r.minutes !== undefined ? `${r.minutes}m` : `${r.from!.toISOString()}~${r.to!.toISOString()}` }, false);
}

/** bounds are the ends of the range at this moment. */
export function bounds(r: Range = range.value): { from: Date; to: Date } {
  if (r.minutes === undefined) return { from: r.from!, to: r.to! };
  const to = new Date();
  return { from: new Date(+to - r.minutes * 60_000), to };
}

/** moving are the ends of the range for a path that is watched. */
export function moving(r: Range = range.value): { from: string; to: string } {
  if (r.minutes === undefined) return { from: r.from!.toISOString(), to: r.to!.toISOString() };
  return { from: `{now-${r.minutes}m}`, to: "{now}" };
}

export function rangeText(r: Range): string {
  if (r.minutes === undefined) return `${clock(r.from!)} – ${clock(r.to!)}`;
  return "last " + spanText(r.minutes * 60e9);
}

/** stepOf is the step in seconds at which about n points lie in the range. */
export function stepOf(r: Range = range.value, n = 120): number {
  const { from, to } = bounds(r);
  const least = (+to - +from) / 1000 / n;
  return [5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400].find((s) => s >= least) ?? 86400;
}

const sameDay = (a: Date, b: Date) => a.toDateString() === b.toDateString();

/** clock is a moment in the reader's zone: the time, and the day if it is another. */
export function clock(at: Date, millis = false): string {
  const time = at.toLocaleTimeString([], { hourCycle: "h23", ...(millis ? { fractionalSecondDigits: 3 } : {}), hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return sameDay(at, new Date()) ? time : at.toLocaleDateString([], { month: "short", day: "numeric" }) + ", " + time;
}

/** local is a moment in the reader's zone, as a field for one wants it. */
export const local = (at: Date) => new Date(+at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);

/** utc is a moment in UTC, for hovering. */
export const utc = (at: Date) => (isNaN(+at) ? "" : at.toISOString().replace("T", " ").replace("Z", " UTC"));

/** ago is how long a moment lies back. */
export function ago(at: Date, now = new Date()): string {
  const s = (+now - +at) / 1000;
  if (s < 1.5) return "now";
  return spanText(s * 1e9) + " ago";
}

function digits(n: number): string {
  return n >= 100 || Number.isInteger(n) ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2);
}

/** duration of nanoseconds, with three digits. */
export function duration(ns: number): string {
  if (ns <= 0) return "0";
  if (ns < 1e3) return `${Math.round(ns)} ns`;
  if (ns < 1e6) return `${digits(ns / 1e3)} µs`;
  if (ns < 1e9) return `${digits(ns / 1e6)} ms`;
  if (ns < 60e9) return `${digits(ns / 1e9)} s`;
  const s = Math.round(ns / 1e9);
  return s < 3600 ? `${Math.floor(s / 60)} min${s % 60 ? ` ${s % 60} s` : ""}` : spanText(ns);
}

/** spanText is a span of time in whole units. */
export function spanText(ns: number): string {
  const s = Math.round(ns / 1e9);
  if (s < 60) return `${s} s`;
  const min = Math.round(s / 60);
  if (min < 60) return `${min} min`;
  if (s < 86400) return min % 60 ? `${Math.floor(min / 60)} h ${min % 60} min` : `${min / 60} h`;
  const days = Math.floor(s / 86400);
  return days === 1 ? "1 day" : `${days} days`;
}

/** count of things. */
export function count(n: number): string {
  if (n < 10_000) return n.toLocaleString("en");
  if (n < 1e6) return `${digits(n / 1e3)} k`;
  return n < 1e9 ? `${digits(n / 1e6)} M` : `${digits(n / 1e9)} G`;
}

/** rate a second. */
export function rate(n: number): string {
  if (n === 0) return "0";
  return n < 0.01 ? "<0.01" : n < 10 ? n.toFixed(2) : n < 100 ? n.toFixed(1) : count(Math.round(n));
}

/** percent of a share from 0 to 1. */
export function percent(share: number): string {
  if (share === 0) return "0 %";
  return share < 0.0001 ? "<0.01 %" : share < 0.1 ? `${(share * 100).toFixed(2)} %` : `${(share * 100).toFixed(share < 1 ? 1 : 0)} %`;
}

/** bytes in powers of ten. */
export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${digits(n / 1e3)} kB`;
  return n < 1e9 ? `${digits(n / 1e6)} MB` : `${digits(n / 1e9)} GB`;
}

/** plural: 1 span, 2 spans. */
export const plural = (n: number, one: string, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;
