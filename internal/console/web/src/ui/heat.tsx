// A heat map: spans by when they began and how long they took. A region can be drawn with the mouse, or by keys.
import type { TargetedKeyboardEvent, TargetedPointerEvent } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { theme } from "../theme";
import { clock, count, duration, percent, plural } from "../time";
import type { Region } from "../trace/querytext";
import type { Heat } from "../types";
import { useWidth } from "./basic";
import "./heat.css";

interface Box {
  c0: number;
  r0: number;
  c1: number;
  r1: number;
}

const left = 58; // of durations
const bottom = 20; // of times

interface Props {
  heat: Heat;
  region?: Region;
  onRegion?: (r: Region | undefined) => void; // where a region can be drawn
  height?: number;
}

export function HeatMap({ heat, region, onRegion, height = 230 }: Props) {
  const [ref, width] = useWidth<HTMLDivElement>();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [drag, setDrag] = useState<Box>();
  const [at, setAt] = useState<[column: number, row: number]>(); // the cell that is told about
  const [keys, setKeys] = useState(false); // it was reached by keys
  const rows = Math.max(heat.edges_ns.length - 1, 1);
  const cells = useMemo(() => new Map(heat.cells.map((c) => [c[0] * 100 + c[1], c])), [heat]);
  const begin = Date.parse(heat.from);
  const every = heat.every_ns / 1e6;
  const shown = drag ?? (region && boxOf(region, heat));
  const scheme = theme.value;

  useEffect(() => {
    const el = canvas.current;
    if (el && width > left + 40) draw(el, heat, rows, width, height, shown, at && (keys || !drag) ? at : undefined);
  }, [heat, width, height, scheme, at, keys, JSON.stringify(shown)]);

  const cellAt = (e: TargetedPointerEvent<HTMLElement>): [number, number] => {
    const box = e.currentTarget.getBoundingClientRect();
    const c = Math.floor(((e.clientX - box.left - left) / (box.width - left)) * heat.columns);
    const r = rows - 1 - Math.floor(((e.clientY - box.top) / (box.height - bottom)) * rows);
    return [clamp(c, heat.columns - 1), clamp(r, rows - 1)];
  };
  const regionFrom = (b: Box): Region => {
    const [c0, c1] = [Math.min(b.c0, b.c1), Math.max(b.c0, b.c1)];
    const [r0, r1] = [Math.min(b.r0, b.r1), Math.max(b.r0, b.r1)];
    return {
      from: new Date(begin + c0 * every).toISOString(),
      to: new Date(Math.min(begin + (c1 + 1) * every, Date.parse(heat.to))).toISOString(),
      least: heat.edges_ns[r0] ?? 0,
      most: r1 + 1 >= rows ? 0 : (heat.edges_ns[r1 + 1] ?? 0),
    };
  };
  const onKey = (e: TargetedKeyboardEvent<HTMLElement>) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
    if (step) {
      e.preventDefault();
      const from = at ?? [Math.floor(heat.columns / 2), Math.floor(rows / 2)];
      const next: [number, number] = [clamp(from[0] + step[0]!, heat.columns - 1), clamp(from[1] + step[1]!, rows - 1)];
      setAt(next);
      setKeys(true);
      if (onRegion) setDrag(e.shiftKey ? { c0: drag?.c0 ?? from[0], r0: drag?.r0 ?? from[1], c1: next[0], r1: next[1] } : undefined);
    } else if (e.key === "Enter" && onRegion && at) {
      e.preventDefault();
      onRegion(regionFrom(drag ?? { c0: at[0], r0: at[1], c1: at[0], r1: at[1] }));
      setDrag(undefined);
    } else if (e.key === "Escape" && (drag || region)) {
      e.stopPropagation();
      if (drag) setDrag(undefined);
      else onRegion?.(undefined);
    }
  };
  const end = (e: TargetedPointerEvent<HTMLElement>) => {
    if (!drag || keys) return;
    setDrag(undefined);
    const still = drag.c0 === drag.c1 && drag.r0 === drag.r1;
    if (!still || (e.type === "pointerup" && cells.has(drag.c0 * 100 + drag.r0))) onRegion?.(regionFrom(drag));
  };
  const cell = at && cells.get(at[0] * 100 + at[1]);
  const label = `Heat map of ${plural(heat.spans, "span")} by time and duration.` + (onRegion ? " Arrow keys move, Shift and arrow keys draw a region, Enter selects it, Escape clears it." : " Arrow keys move.");
  return (
    <figure class="heat">
      <div
        ref={ref}
        class="heat-box"
        role="application"
        aria-roledescription="heat map"
        aria-label={label}
        tabIndex={0}
        onKeyDown={onKey}
        onPointerDown={(e) => {
          if (!onRegion || e.button !== 0) return;
          const [c, r] = cellAt(e);
          e.currentTarget.setPointerCapture(e.pointerId);
          setKeys(false);
          setDrag({ c0: c, r0: r, c1: c, r1: r });
        }}
        onPointerMove={(e) => {
          const [c, r] = cellAt(e);
          if (at?.[0] !== c || at?.[1] !== r) setAt([c, r]);
          if (drag && !keys) setDrag({ ...drag, c1: c, r1: r });
        }}
        onPointerUp={end}
        onPointerCancel={() => setDrag(undefined)}
        onPointerLeave={() => !drag && setAt(undefined)}
        onBlur={() => {
          setAt(undefined);
          setDrag(undefined);
        }}
      >
        <canvas ref={canvas} style={{ height: `${height}px` }} />
      </div>
      <figcaption class="heat-foot">
        <span class="grow" aria-live={keys ? "polite" : "off"}>
          {at ? (
            <>
              {clock(new Date(begin + at[0] * every))} · {duration(heat.edges_ns[at[1]] ?? 0)} to {duration(heat.edges_ns[at[1] + 1] ?? 0)}: <b>{plural(Math.round(cell?.[2] ?? 0), "span")}</b>
              {cell && cell[3] > 0 && (
                <>
                  , <b class="bad-text">{count(Math.round(cell[3]))} failed</b>
                </>
              )}
            </>
          ) : onRegion ? (
            "Drag over a part of it to see what is different there."
          ) : (
            ""
          )}
        </span>
        <span class="heat-scale">
          few <i aria-hidden="true" /> many
        </span>
        <span>
          <i class="heat-cross" aria-hidden="true">
            ×
          </i>{" "}
          with errors
        </span>
      </figcaption>
      <Bands heat={heat} />
    </figure>
  );
}

/** Bands says in numbers what the colours say: the spans of each band of durations. */
function Bands({ heat }: { heat: Heat }) {
  const bands = useMemo(() => {
    const sums = new Map<number, [n: number, failed: number]>();
    for (const [, row, n, failed] of heat.cells) {
      const one = sums.get(row) ?? [0, 0];
      sums.set(row, [one[0] + n, one[1] + failed]);
    }
    return [...sums].sort((a, b) => b[0] - a[0]);
  }, [heat]);
  const all = bands.reduce((n, [, [one]]) => n + one, 0);
  return (
    <details class="heat-bands">
      <summary>As a table</summary>
      <table aria-label="Spans by duration">
        <thead>
          <tr>
            <th scope="col">Took</th>
            <th scope="col" class="num">
              Spans
            </th>
            <th scope="col" class="num">
              Share
            </th>
            <th scope="col" class="num">
              Failed
            </th>
          </tr>
        </thead>
        <tbody>
          {bands.map(([row, [n, failed]]) => (
            <tr key={row}>
              <td>
                {duration(heat.edges_ns[row] ?? 0)} to {duration(heat.edges_ns[row + 1] ?? 0)}
              </td>
              <td class="num">{count(Math.round(n))}</td>
              <td class="num">{percent(n / Math.max(all, 1))}</td>
              <td class="num">{failed > 0 ? <span class="bad-text">{count(Math.round(failed))}</span> : "–"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

const clamp = (n: number, most: number) => Math.max(0, Math.min(n, most));

/** boxOf is the cells of a region; nothing where it lies outside. */
function boxOf(r: Region, heat: Heat): Box | undefined {
  const begin = Date.parse(heat.from);
  const every = heat.every_ns / 1e6;
  const rows = heat.edges_ns.length - 1;
  const c0 = Math.round((Date.parse(r.from) - begin) / every);
  const c1 = Math.round((Date.parse(r.to) - begin) / every) - 1;
  if (rows < 1 || c1 < 0 || c0 >= heat.columns) return undefined;
  const row = (ns: number) => {
    const i = heat.edges_ns.findIndex((e) => e > ns);
    return i < 0 ? rows - 1 : Math.max(i - 1, 0);
  };
  return { c0: Math.max(c0, 0), c1: Math.min(Math.max(c1, c0), heat.columns - 1), r0: row(r.least), r1: r.most ? row(r.most - 1) : rows - 1 };
}

function draw(el: HTMLCanvasElement, heat: Heat, rows: number, width: number, height: number, box: Box | undefined, at: [number, number] | undefined) {
  const scale = devicePixelRatio || 1;
  el.width = width * scale;
  el.height = height * scale;
  const g = el.getContext("2d")!;
  const css = getComputedStyle(el);
  const color = (name: string) => css.getPropertyValue(name).trim();
  g.scale(scale, scale);
  const w = (width - left) / heat.columns;
  const h = (height - bottom) / rows;
  const x = (c: number) => left + c * w;
  const y = (r: number) => height - bottom - (r + 1) * h;
  g.fillStyle = color("--sunk");
  g.fillRect(left, 0, width - left, height - bottom);
  let top = 1;
  for (const c of heat.cells) top = Math.max(top, c[2]);
  const gap = w > 6 ? 1 : 0;
  g.fillStyle = color("--accent");
  for (const [c, r, n] of heat.cells) {
    g.globalAlpha = 0.18 + 0.82 * (top > 1 ? Math.log(Math.max(n, 1)) / Math.log(top) : 1);
    g.fillRect(x(c), y(r) + (h > 6 ? 0.5 : 0), Math.max(w - gap, 1), Math.max(h - (h > 6 ? 1 : 0), 1));
  }
  g.globalAlpha = 1;
  cross(g, heat, x, y, w, h, color("--bad"), color("--surface"));
  axes(g, heat, rows, width, height, color("--muted"));
  if (box) {
    const [c0, c1] = [Math.min(box.c0, box.c1), Math.max(box.c0, box.c1)];
    const [r0, r1] = [Math.min(box.r0, box.r1), Math.max(box.r0, box.r1)];
    g.fillStyle = color("--text");
    g.globalAlpha = 0.1;
    g.fillRect(x(c0), y(r1), (c1 - c0 + 1) * w, (r1 - r0 + 1) * h);
    g.globalAlpha = 1;
    g.strokeStyle = color("--text");
    g.lineWidth = 1.5;
    g.strokeRect(x(c0) + 0.5, y(r1) + 0.5, (c1 - c0 + 1) * w - 1, (r1 - r0 + 1) * h - 1);
  }
  if (at) {
    g.strokeStyle = color("--text");
    g.lineWidth = 1;
    g.strokeRect(x(at[0]) - 0.5, y(at[1]) - 0.5, w + 1, h + 1);
  }
}

/** cross marks the cells with errors: a sign, not only a colour. */
function cross(g: CanvasRenderingContext2D, heat: Heat, x: (c: number) => number, y: (r: number) => number, w: number, h: number, bad: string, rim: string) {
  const a = Math.max(2.2, Math.min(w, h, 12) * 0.28);
  for (const [width, color] of [
    [3.6, rim],
    [1.8, bad],
  ] as const) {
    g.strokeStyle = color;
    g.lineWidth = width;
    g.beginPath();
    for (const [c, r, , errors] of heat.cells) {
      if (errors <= 0) continue;
      const mx = x(c) + w / 2 - 0.5;
      const my = y(r) + h / 2;
      g.moveTo(mx - a, my - a);
      g.lineTo(mx + a, my + a);
      g.moveTo(mx + a, my - a);
      g.lineTo(mx - a, my + a);
    }
    g.stroke();
  }
}

function axes(g: CanvasRenderingContext2D, heat: Heat, rows: number, width: number, height: number, color: string) {
  g.fillStyle = color;
  g.font = "11px system-ui, sans-serif";
  const h = (height - bottom) / rows;
  g.textAlign = "right";
  g.textBaseline = "middle";
  const each = Math.max(1, Math.ceil(34 / h));
  for (let r = 0; r <= rows && heat.edges_ns.length > 1; r += each) {
    g.fillText(duration(heat.edges_ns[r] ?? 0), left - 6, clampTo(height - bottom - r * h, 7, height - bottom - 5));
  }
  const begin = Date.parse(heat.from);
  const span = Date.parse(heat.to) - begin;
  const n = Math.max(1, Math.floor((width - left) / 110));
  g.textBaseline = "bottom";
  for (let i = 0; i <= n; i++) {
    g.textAlign = i === 0 ? "left" : i === n ? "right" : "center";
    const t = new Date(begin + (span * i) / n);
    const text = span > 2 * 86400e3 ? t.toLocaleDateString([], { month: "short", day: "numeric" }) : t.toLocaleTimeString([], { hourCycle: "h23", hour: "2-digit", minute: "2-digit", ...(span < 20 * 60e3 ? { second: "2-digit" } : {}) });
    g.fillText(text, left + ((width - left) * i) / n, height - 3);
  }
}

const clampTo = (n: number, low: number, high: number) => Math.max(low, Math.min(n, high));
