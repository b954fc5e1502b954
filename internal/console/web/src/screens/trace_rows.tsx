// The waterfall: a treegrid of which only the rows that can be seen are drawn, and a small map of the whole trace above it.
import type { TargetedKeyboardEvent, VNode } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { theme } from "../theme";
import { duration } from "../time";
import { since, type Node, type Tree } from "../trace/model";
import { colorOf, useWidth } from "../ui/basic";
import { Virtual } from "../ui/table";

const rowHeight = 26;
const maxTicks = 60; // of a span
const page = 12;

/** Window is the part of the time that is shown, in nanoseconds from the beginning of the trace. */
export interface Window {
  from: number;
  to: number;
}

interface Props {
  tree: Tree;
  rows: Node[];
  folded: ReadonlySet<string>;
  onFold: (folded: ReadonlySet<string>) => void;
  selected: Node | undefined;
  onSelect: (n: Node | undefined) => void;
  hits: ReadonlySet<Node> | undefined;
  win: Window | undefined;
  onWindow: (w: Window | undefined) => void;
}

export function Waterfall({ tree, rows, folded, onFold, selected, onSelect, hits, win, onWindow }: Props) {
  const [at, setAt] = useState<Node>(); // the row that keys are about
  const now = selected ?? at ?? rows[0];
  const index = now ? rows.indexOf(now) : -1;
  const w = win ?? { from: 0, to: Math.max(tree.total, 1) };
  const fold = (n: Node, on: boolean) => {
    const next = new Set(folded);
    if (on) next.add(n.span.span_id);
    else next.delete(n.span.span_id);
    onFold(next);
  };
  // A row that is as it was is not made again while the reader scrolls: Preact leaves the same element alone.
  const made = useMemo(() => new Map<Node, [string, VNode]>(), [tree, rows, folded, hits, w.from, w.to]);
  const row = (n: Node, i: number) => {
    const looks = `${n === selected} ${n === now}`;
    const had = made.get(n);
    if (had?.[0] === looks) return had[1];
    const row = <Row key={n.index} node={n} i={i} tree={tree} w={w} on={n === selected} at={n === now} open={!folded.has(n.span.span_id)} hit={hits?.has(n)} onFold={fold} onSelect={onSelect} />;
    made.set(n, [looks, row]);
    return row;
  };
  const move = (n: Node | undefined) => {
    if (!n) return;
    setAt(n);
    if (selected) onSelect(n);
  };
  const onKey = (e: TargetedKeyboardEvent<HTMLDivElement>) => {
    if (!now || e.ctrlKey || e.metaKey || e.altKey) return;
    const open = !folded.has(now.span.span_id);
    const to = (i: number) => move(rows[Math.max(0, Math.min(i, rows.length - 1))]);
    const does: Record<string, () => void> = {
      ArrowDown: () => to(index + 1),
      ArrowUp: () => to(index - 1),
      PageDown: () => to(index + page),
      PageUp: () => to(index - page),
      Home: () => to(0),
      End: () => to(rows.length - 1),
      ArrowRight: () => (now.below.length && !open ? fold(now, false) : move(now.below[0])),
      ArrowLeft: () => (now.below.length && open ? fold(now, true) : move(now.parent)),
      Enter: () => onSelect(now),
      " ": () => onSelect(selected === now ? undefined : now),
    };
    const run = does[e.key];
    if (!run) return;
    e.preventDefault();
    run();
  };
  return (
    <div class="tc-grid">
      <Minimap tree={tree} win={win} onWindow={onWindow} />
      <div class="tc-axis" aria-hidden="true">
        <span>Span</span>
        <span class="tc-ticks">
          {[0, 0.25, 0.5, 0.75, 1].map((f) => (
            <span key={f} style={{ left: `${f * 100}%` }}>
              {f === 0 && w.from === 0 ? "0" : duration(w.from + f * (w.to - w.from))}
            </span>
          ))}
        </span>
      </div>
      <div class="tc-frame" style={{ "--rows": rows.length }}>
        <Virtual
          rows={rows}
          height={rowHeight}
          label="Spans of the trace"
          role="treegrid"
          scrollTo={index >= 0 && (selected || at) ? index : undefined}
          active={now && `span-${now.index}`}
          onKey={onKey}
          render={row}
        />
      </div>
    </div>
  );
}

interface RowProps {
  node: Node;
  i: number;
  tree: Tree;
  w: Window;
  on: boolean;
  at: boolean;
  open: boolean;
  hit: boolean | undefined;
  onFold: (n: Node, on: boolean) => void;
  onSelect: (n: Node) => void;
}

function Row({ node: n, i, tree, w, on, at, open, hit, onFold, onSelect }: RowProps) {
  const s = n.span;
  const parent = n.below.length > 0;
  return (
    <div
      id={`span-${n.index}`}
      role="row"
      class={`tc-row ${on ? "on" : ""} ${hit === false ? "dim" : hit ? "hit" : ""}`}
      style={at && !on ? { boxShadow: "inset 3px 0 0 var(--muted)" } : undefined}
      aria-level={n.depth + 1}
      aria-rowindex={i + 1}
      aria-expanded={parent ? open : undefined}
      aria-selected={on}
      onClick={() => onSelect(n)}
    >
      <div role="gridcell" class="tc-name" style={{ paddingLeft: `${10 + Math.min(n.depth, 16) * 13}px` }}>
        {parent ? (
          <button
            type="button"
            class="tc-fold"
            tabIndex={-1}
            aria-label={open ? "Fold" : "Unfold"}
            onClick={(e) => {
              e.stopPropagation();
              onFold(n, open);
            }}
          >
            {open ? "▾" : "▸"}
          </button>
        ) : (
          <i class="tc-none" />
        )}
        {n.failed ? (
          <i class="tc-err" role="img" aria-label="Error">
            ✕
          </i>
        ) : (
          !open &&
          n.failedBelow && (
            <i class="tc-err below" role="img" aria-label="Error below">
              ✕
            </i>
          )
        )}
        <i class="dot" style={{ background: colorOf(s.service) }} />
        <span class="tc-label" title={`${s.service} ${s.name}${n.orphan ? " (its parent is not here)" : ""}`}>
          <b>{s.service}</b> {s.name}
        </span>
        {!open && <span class="tc-under">+{n.under}</span>}
      </div>
      <div role="gridcell" class="tc-lane">
        <Lane node={n} tree={tree} w={w} />
      </div>
    </div>
  );
}

function Lane({ node: n, tree, w }: { node: Node; tree: Tree; w: Window }) {
  const span = w.to - w.from;
  const x = (ns: number) => ((ns - w.from) / span) * 100;
  const box = (from: number, to: number) => {
    const left = Math.max(x(from), -1);
    return { left: `min(${left}%, calc(100% - 2px))`, width: `${Math.max(Math.min(x(to), 101) - left, 0)}%` };
  };
  const seen = (from: number, to: number) => to >= w.from && from <= w.to;
  const text = duration(n.span.duration_ns);
  const right = Math.min(x(n.to), 100);
  const moment = (time: string) => since(tree.origin, time) + n.moved;
  return (
    <>
      {seen(n.from, n.to) && <i class={`tc-bar ${n.failed ? "bad" : ""}`} style={{ ...box(n.from, n.to), background: colorOf(n.span.service) }} />}
      {n.critical.map(([a, b]) => seen(a, b) && <i key={a} class="tc-crit" style={box(a, b)} />)}
      {n.span.events?.slice(0, maxTicks).map((e, i) => {
        const at = moment(e.time);
        return seen(at, at) && <i key={`e${i}`} class={`tc-tick ${e.name === "exception" ? "bad" : ""}`} style={{ left: `${x(at)}%` }} title={e.name} />;
      })}
      {n.records.concat(n.near).slice(0, maxTicks).map((r, i) => {
        const at = moment(r.time);
        return seen(at, at) && <i key={`r${i}`} class={`tc-tick log ${r.level === "error" ? "bad" : ""}`} style={{ left: `${x(at)}%` }} title={`${r.level}: ${r.text}`} />;
      })}
      <span class={`tc-took ${right > 82 && x(n.from) <= 14 ? "in" : ""}`} style={right > 82 ? (x(n.from) > 14 ? { right: `${100 - Math.max(x(n.from), 0)}%` } : { background: colorOf(n.span.service) }) : { left: `${Math.max(right, 0)}%` }}>
        {text}
      </span>
    </>
  );
}

/** Minimap draws all spans small. Dragging over it chooses the part of the time that is shown below. */
function Minimap({ tree, win, onWindow }: { tree: Tree; win: Window | undefined; onWindow: (w: Window | undefined) => void }) {
  const [ref, width] = useWidth<HTMLDivElement>();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [drag, setDrag] = useState<[number, number]>();
  const scheme = theme.value;
  const total = Math.max(tree.total, 1);
  useEffect(() => {
    const el = canvas.current;
    if (!el || width < 50) return;
    const height = 44;
    const scale = devicePixelRatio || 1;
    el.width = width * scale;
    el.height = height * scale;
    const g = el.getContext("2d")!;
    g.scale(scale, scale);
    const css = getComputedStyle(el);
    const h = Math.max(1, Math.min(3, (height - 8) / tree.nodes.length));
    const colors = new Map<string, string>();
    const probe = document.createElement("i");
    el.parentElement!.append(probe);
    tree.nodes.forEach((n, i) => {
      let color = colors.get(n.span.service);
      if (!color) {
        probe.style.color = colorOf(n.span.service);
        colors.set(n.span.service, (color = getComputedStyle(probe).color));
      }
      g.fillStyle = color;
      g.fillRect((n.from / total) * width, 4 + (i / tree.nodes.length) * (height - 8), Math.max(((n.to - n.from) / total) * width, 1), h);
    });
    probe.remove();
    const shown = drag ? [Math.min(...drag), Math.max(...drag)] : win ? [(win.from / total) * width, (win.to / total) * width] : undefined;
    if (shown) {
      g.fillStyle = css.getPropertyValue("--surface");
      g.globalAlpha = 0.75;
      g.fillRect(0, 0, shown[0]!, height);
      g.fillRect(shown[1]!, 0, width - shown[1]!, height);
      g.globalAlpha = 1;
      g.strokeStyle = css.getPropertyValue("--accent");
      g.lineWidth = 1.5;
      g.strokeRect(shown[0]!, 0.75, Math.max(shown[1]! - shown[0]!, 1), height - 1.5);
    }
  }, [tree, width, scheme, win?.from, win?.to, drag]);
  const at = (e: PointerEvent) => Math.max(0, Math.min(e.clientX - canvas.current!.getBoundingClientRect().left, width));
  return (
    <div ref={ref}>
      <canvas
        ref={canvas}
        class="tc-map"
        aria-hidden="true"
        onPointerDown={(e) => {
          e.currentTarget.setPointerCapture(e.pointerId);
          setDrag([at(e), at(e)]);
        }}
        onPointerMove={(e) => drag && setDrag([drag[0], at(e)])}
        onPointerUp={() => {
          if (!drag) return;
          setDrag(undefined);
          const [a, b] = [Math.min(...drag), Math.max(...drag)];
          onWindow(b - a < 4 ? undefined : { from: (a / width) * total, to: (b / width) * total });
        }}
        onPointerCancel={() => setDrag(undefined)}
      />
    </div>
  );
}
