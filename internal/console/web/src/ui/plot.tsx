// Plots of values over time, drawn by uPlot, which is loaded with the first of them.
import { useEffect, useRef } from "preact/hooks";
import { useWidth } from "./basic";
import { clock, bytes, count, duration, percent, rate, setRange, utc } from "../time";
import { theme } from "../theme";
import type uPlot from "uplot";

export type Unit = "" | "/s" | "ns" | "s" | "bytes" | "share" | "cores";

/** format is a value with its unit. */
export function format(v: number | null | undefined, unit: Unit): string {
  if (v === null || v === undefined || isNaN(v)) return "–";
  switch (unit) {
    case "/s":
      return `${rate(v)}/s`;
    case "ns":
      return duration(v);
    case "s":
      return duration(v * 1e9);
    case "bytes":
      return bytes(Math.round(v));
    case "cores": // of one processor
    case "share":
    case "cores": // of one processor
      return percent(v);
    default:
      return Math.abs(v) >= 10_000 ? count(v) : Number.isInteger(v) ? String(v) : v.toPrecision(3);
  }
}

export interface Line {
  label: string;
  values: (number | null)[];
  color?: string;
}

const palette = ["#0d94a6", "#d97706", "#7c5cd6", "#c2410c", "#2f7d4f", "#c026a3", "#3b6fd4", "#8a7a12", "#64748b", "#b91c4b"];

/** Plot draws lines over times (seconds since 1970). Dragging over it narrows the range of time; the table below says the same. */
export function Plot({ times, lines, unit = "", height = 160, label, bars }: { times: number[]; lines: Line[]; unit?: Unit; height?: number; label: string; bars?: boolean }) {
  const [ref, width] = useWidth<HTMLDivElement>();
  const plot = useRef<uPlot | undefined>(undefined);
  const scheme = theme.value;
  const shape = lines.map((l) => l.label).join("\n") + unit + bars + scheme + height;
  useEffect(() => {
    if (width < 50 || !ref.current) return;
    let gone = false;
    const box = ref.current;
    import("uplot").then(({ default: UPlot }) => {
      if (gone) return;
      const css = getComputedStyle(box);
      const axis = { stroke: css.getPropertyValue("--muted"), grid: { stroke: css.getPropertyValue("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
      plot.current = new UPlot(
        {
          width,
          height,
          legend: { show: false },
          cursor: { y: false, drag: { x: true, y: false }, points: { size: 6 } },
          scales: { y: { range: (_u, low, high) => [Math.min(0, low ?? 0), (high ?? 0) > 0 ? high * 1.08 : 1] } },
          axes: [
            { ...axis, space: 70, size: 28, values: (_u, ticks) => ticks.map((t) => short(t, times)) },
            { ...axis, size: 62, values: (_u, ticks) => ticks.map((v) => format(v, unit)) },
          ],
          series: [
            {},
            ...lines.map((l, i) => {
              const color = l.color ?? palette[i % palette.length]!;
              return { label: l.label, stroke: color, width: 1.5, spanGaps: false, points: { show: times.length < 3, size: 5, fill: color, filter: alone }, ...(bars ? { fill: color + "55", paths: UPlot.paths.bars!({ size: [0.9, 40] }) } : {}) };
            }),
          ],
          hooks: {
            setSelect: [
              (u) => {
                if (u.select.width < 4) return;
                setRange({ from: new Date(u.posToVal(u.select.left, "x") * 1000), to: new Date(u.posToVal(u.select.left + u.select.width, "x") * 1000) });
              },
            ],
            setCursor: [(u) => say(u, box, lines, unit)],
          },
        },
        [times, ...lines.map((l) => l.values)] as uPlot.AlignedData,
        box,
      );
      say(plot.current, box, lines, unit);
    });
    return () => {
      gone = true;
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [width, shape]);
  useEffect(() => plot.current?.setData([times, ...lines.map((l) => l.values)] as uPlot.AlignedData), [times, lines]);
  return (
    <figure class="plot" aria-label={label}>
      <div ref={ref} class="plot-box" style={{ height: `${height}px` }} />
      <figcaption aria-live="off" class="plot-tip" />
    </figure>
  );
}

/** alone are the points that no line leads to, which would not be seen. */
function alone(u: uPlot, series: number): number[] | null {
  const values = u.data[series]!;
  const found: number[] = [];
  for (let i = 0; i < values.length; i++) if (values[i] != null && values[i - 1] == null && values[i + 1] == null) found.push(i);
  return found.length ? found : null;
}

/** say tells the values below the cursor. */
function say(u: uPlot, box: HTMLElement, lines: Line[], unit: Unit) {
  const tip = box.nextElementSibling as HTMLElement;
  const i = u.cursor.idx;
  if (i === null || i === undefined) {
    legend(tip, lines);
    return;
  }
  const at = new Date(u.data[0]![i]! * 1000);
  const items = lines
    .map((l, n) => ({ l, n, v: (u.data[n + 1] as (number | null)[])[i] }))
    .filter(({ v }) => v !== null && v !== undefined)
    .sort((a, b) => b.v! - a.v!)
    .slice(0, 8)
    .map(({ l, n, v }) => {
      const span = document.createElement("span");
      const dot = document.createElement("i");
      dot.className = "dot";
      dot.style.background = l.color ?? palette[n % palette.length]!;
      span.append(dot, `${l.label} `, Object.assign(document.createElement("b"), { textContent: format(v, unit) }));
      return span;
    });
  tip.replaceChildren(Object.assign(document.createElement("time"), { textContent: clock(at), title: utc(at) }), ...items);
}

/** legend tells which line is which, while there is no cursor. */
function legend(tip: HTMLElement, lines: Line[]) {
  const shown = lines.length > 1 ? lines.slice(0, 8) : [];
  const items: (HTMLElement | string)[] = shown.map((l, n) => {
    const span = document.createElement("span");
    const dot = document.createElement("i");
    dot.className = "dot";
    dot.style.background = l.color ?? palette[n % palette.length]!;
    span.append(dot, l.label);
    return span;
  });
  if (lines.length > shown.length && shown.length) items.push(`and ${lines.length - shown.length} more`);
  tip.replaceChildren(...items);
}

function short(t: number, times: number[]): string {
  const at = new Date(t * 1000);
  const long = (times.at(-1) ?? t) - (times[0] ?? t) > 2 * 86400;
  if (!long && (times.at(-1) ?? t) - (times[0] ?? t) < 600) return clock(at).split(", ").at(-1)!;
  return long ? at.toLocaleDateString([], { month: "short", day: "numeric" }) : at.toLocaleTimeString([], { hourCycle: "h23", hour: "2-digit", minute: "2-digit" });
}
