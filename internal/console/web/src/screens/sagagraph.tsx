// The graph of a saga's definition, with the path that an instance took lit. dagre lays it out.
import dagre from "@dagrejs/dagre";
import { useMemo } from "preact/hooks";
import { useWidth } from "../ui/basic";
import type { SagaStepStatus } from "../types";

const wide = 168;
const high = 58;
const signs: Record<string, string> = { open: "○", running: "◐", done: "●", skipped: "⤳", failed: "✕", parked: "▲", undoing: "◐", undone: "↺" };

type P = { x: number; y: number };

function layout(steps: SagaStepStatus[], down: boolean) {
  const g = new dagre.graphlib.Graph();
  g.setGraph({ rankdir: down ? "TB" : "LR", nodesep: 18, ranksep: down ? 30 : 44, marginx: 6, marginy: 6 });
  g.setDefaultEdgeLabel(() => ({}));
  for (const s of steps) g.setNode(s.step, { width: wide, height: high });
  const edges = steps.flatMap((s) => (s.after ?? []).map((from): [string, string] => [from, s.step]));
  for (const [from, to] of edges) g.setEdge(from, to);
  dagre.layout(g);
  const { width = 0, height = 0 } = g.graph();
  return {
    width,
    height,
    at: new Map(steps.map((s) => [s.step, g.node(s.step) as unknown as P])),
    edges: edges.map(([from, to]) => ({ from, to, path: curve(g.edge(from, to).points as P[]) })),
  };
}

function curve(p: P[]): string {
  let d = `M${p[0]!.x} ${p[0]!.y}`;
  for (let i = 1; i < p.length - 1; i++) d += `Q${p[i]!.x} ${p[i]!.y} ${(p[i]!.x + p[i + 1]!.x) / 2} ${(p[i]!.y + p[i + 1]!.y) / 2}`;
  return d + `L${p.at(-1)!.x} ${p.at(-1)!.y}`;
}

const cut = (text: string, n: number) => (text.length > n ? text.slice(0, n - 1) + "…" : text);
const reached = (s?: SagaStepStatus) => !!s && s.state !== "open";

export default function Graph({ steps, back, chosen, onPick }: { steps: SagaStepStatus[]; back: boolean; chosen: string; onPick: (step: string) => void }) {
  const [ref, width] = useWidth<HTMLDivElement>();
  const shape = steps.map((s) => s.step + (s.after ?? []).join()).join("|");
  const across = useMemo(() => layout(steps, false), [shape]);
  const down = width > 0 && across.width * 0.72 > width;
  const drawn = useMemo(() => (down ? layout(steps, true) : across), [across, down]);
  const by = new Map(steps.map((s) => [s.step, s]));
  const scale = width ? Math.min(1, width / drawn.width) : 1;
  return (
    <div class="saga-graph" ref={ref}>
      <svg width={drawn.width * scale} height={drawn.height * scale} viewBox={`0 0 ${drawn.width} ${drawn.height}`} role="group" aria-label="Graph of the steps; the table below says the same">
        <defs>
          <marker id="saga-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto-start-reverse">
            <path d="M0 0L8 4L0 8z" fill="context-stroke" />
          </marker>
        </defs>
        {drawn.edges.map(({ from, to, path }) => {
          const a = by.get(from);
          const b = by.get(to);
          const lit = reached(a) && reached(b);
          const undone = back && lit && (a?.state === "undone" || a?.state === "undoing");
          return <path key={`${from}>${to}`} class={`saga-edge ${lit ? "lit" : ""} ${undone ? "back" : ""}`} d={path} marker-end={undone ? undefined : "url(#saga-tip)"} marker-start={undone ? "url(#saga-tip)" : undefined} />;
        })}
        {steps.map((s) => {
          const { x, y } = drawn.at.get(s.step)!;
          const pick = () => onPick(s.step);
          const attempts = Math.max(0, ...(s.tasks ?? []).map((t) => t.attempt ?? 0));
          return (
            <g
              key={s.step}
              class={`saga-step ${s.state} ${s.role} ${chosen === s.step ? "chosen" : ""}`}
              transform={`translate(${x - wide / 2} ${y - high / 2})`}
              role="button"
              tabIndex={0}
              aria-pressed={chosen === s.step}
              onClick={pick}
              onKeyDown={(e) => {
                if (e.key !== "Enter" && e.key !== " ") return;
                e.preventDefault();
                pick();
              }}
            >
              <title>{`${s.does}${s.undo ? `\nundo: ${s.undo}` : ""}${s.when ? `\nwhen: ${s.when}` : ""}`}</title>
              {s.each && <rect class="saga-more" x="5" y="-4" width={wide - 4} height={high} rx="8" />}
              <rect class="saga-box" width={wide} height={high} rx="8" />
              <text x="12" y="22" class="saga-name">
                {cut(s.step, s.role === "pivot" ? 13 : 18)}
              </text>
              {s.role === "pivot" && (
                <text x={wide - 10} y="21" text-anchor="end" class="saga-pivot">
                  ◆ pivot
                </text>
              )}
              {s.role !== "pivot" && s.undo && (
                <text x={wide - 10} y="21" text-anchor="end" class="saga-undo">
                  ↺
                </text>
              )}
              <text x="12" y="43" class="saga-state">
                <tspan>{signs[s.state] ?? "○"}</tspan> {s.state}
                {(s.tasks?.length ?? 0) > 1 ? ` · ${s.tasks!.length} items` : attempts > 1 ? ` · ${attempts} attempts` : ""}
              </text>
            </g>
          );
        })}
      </svg>
      <p class="saga-key muted">
        <span>◆ pivot: from there on nothing is undone</span>
        <span>↺ can be undone</span>
        {back && <span>dashed: the way back</span>}
      </p>
    </div>
  );
}
