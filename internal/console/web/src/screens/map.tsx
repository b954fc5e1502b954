// The service map: who reaches whom, laid out by dagre, drawn as SVG; a table says the same.
import dagre from "@dagrejs/dagre";
import { useEffect, useMemo, useState } from "preact/hooks";
import { q } from "../api";
import { useLive } from "../live";
import { bounds, count, duration, moving, percent, range, rate } from "../time";
import { go, href } from "../url";
import { Answer, Empty, Service, colorOf, useWidth } from "../ui/basic";
import { Table } from "../ui/table";
import type { MapEdge, MapNode, Service as ServiceInfo, ServiceMap } from "../types";
import "./map.css";

const nodeH = 34;
const kinds: Record<MapEdge["kind"], string> = { call: "call", event: "event", saga: "saga", gateway: "request" };

interface Drawn {
  width: number;
  height: number;
  nodes: { node: MapNode; x: number; y: number; w: number }[];
  edges: { edge: MapEdge; path: string; x: number; y: number }[];
}

/** Map shows who reached whom in the range of time; what is declared and was silent is dashed. */
export default function Map({ find, only }: { find?: string; only?: string }) {
  const { from, to } = moving();
  const map = useLive<ServiceMap>("5s /v1/map" + q({ from, to }));
  const services = useLive<{ services: ServiceInfo[] }>("5s /v1/services");
  return (
    <Answer of={map} rows={8}>
      {(m) => <Drawing map={m} services={services.data?.services ?? []} find={find ?? ""} only={only} />}
    </Answer>
  );
}

/** silent adds what the manifests declare and no span tells of. */
function silent(m: ServiceMap, services: ServiceInfo[]): ServiceMap {
  const nodes = new window.Map(m.nodes.map((n) => [n.name, n]));
  const edges = m.edges.slice();
  const has = new Set(m.edges.map((e) => `${e.from}\n${e.to}`));
  const known = new Set(services.map((s) => s.service));
  for (const s of services) {
    if (!nodes.has(s.service)) nodes.set(s.service, { name: s.service, kind: "service", calls: 0, errors: 0 });
    for (const c of s.calls) {
      if (known.has(c.service) && !has.has(`${s.service}\n${c.service}`)) edges.push({ from: s.service, to: c.service, kind: "call", calls: 0, errors: 0, p50: 0, p99: 0 });
    }
  }
  return { nodes: [...nodes.values()], edges, missed: m.missed };
}

function layout(m: ServiceMap, down: boolean): Drawn {
  const g = new dagre.graphlib.Graph({ multigraph: true });
  g.setGraph({ rankdir: "TB", nodesep: down ? 10 : 18, edgesep: 8, ranksep: down ? 36 : 44, marginx: 14, marginy: 14 });
  g.setDefaultEdgeLabel(() => ({}));
  const measure = (name: string) => Math.min(190, 42 + name.length * 7.4);
  for (const n of m.nodes) g.setNode(n.name, { width: measure(n.name), height: nodeH });
  m.edges.forEach((e, i) => {
    if (e.from !== e.to) g.setEdge(e.from, e.to, e.calls ? { width: 92, height: e.errors ? 28 : 15, labelpos: "c" } : { width: 1, height: 1 }, String(i));
  });
  dagre.layout(g);
  const { width = 0, height = 0 } = g.graph();
  return {
    width,
    height,
    nodes: m.nodes.map((node) => {
      const { x, y, width: w } = g.node(node.name);
      return { node, x: x!, y: y!, w };
    }),
    edges: m.edges.flatMap((edge, i) => {
      if (edge.from === edge.to) return [];
      const { points, x = 0, y = 0 } = g.edge({ v: edge.from, w: edge.to, name: String(i) });
      return [{ edge, path: curve(points as { x: number; y: number }[]), x, y }];
    }),
  };
}

/** curve goes smoothly through the middle of the segments between points. */
function curve(p: { x: number; y: number }[]): string {
  let d = `M${p[0]!.x} ${p[0]!.y}`;
  for (let i = 1; i < p.length - 1; i++) d += `Q${p[i]!.x} ${p[i]!.y} ${(p[i]!.x + p[i + 1]!.x) / 2} ${(p[i]!.y + p[i + 1]!.y) / 2}`;
  const last = p.at(-1)!;
  return d + `L${last.x} ${last.y}`;
}

function Drawing({ map, services, find, only }: { map: ServiceMap; services: ServiceInfo[]; find: string; only?: string }) {
  const [ref, width] = useWidth<HTMLDivElement>();
  const [over, setOver] = useState<string>();
  const all = silent(map, services);
  const near = only ? new Set([only, ...all.edges.flatMap((e) => (e.from === only ? [e.to] : e.to === only ? [e.from] : []))]) : undefined;
  const full = near ? { ...all, nodes: all.nodes.filter((n) => near.has(n.name)), edges: all.edges.filter((e) => e.from === only || e.to === only) } : all;
  const down = width > 0 && width < 620;
  // The layout changes with what is there, not with how much goes over it.
  const shape = full.nodes.map((n) => n.name).join() + full.edges.map((e) => `${e.from}>${e.to}${e.kind}${e.calls > 0}${e.errors > 0}`).join() + down;
  const drawn = useMemo(() => layout(full, down), [shape]);
  const now = new window.Map(full.edges.map((e) => [`${e.from}\n${e.to}\n${e.kind}`, e]));
  const nodes = new window.Map(full.nodes.map((n) => [n.name, n]));
  const { from, to } = bounds(range.value);
  const seconds = (+to - +from) / 1000;
  const known = new Set(services.map((s) => s.service));
  useEffect(() => {
    const esc = (e: KeyboardEvent) => e.key === "Escape" && setOver(undefined);
    addEventListener("keydown", esc);
    return () => removeEventListener("keydown", esc);
  }, []);
  if (full.nodes.length === 0) return <Empty title="Nobody has reached anybody yet">Send a request through the gateway, or widen the range of time above.</Empty>;
  const touches = (e: MapEdge) => !over || e.from === over || e.to === over;
  const lit = new Set(over ? [over, ...full.edges.filter(touches).flatMap((e) => [e.from, e.to])] : []);
  const dim = (name: string) => (over ? !lit.has(name) : !!find && !name.toLowerCase().includes(find));
  const scale = width ? Math.min(1, width / drawn.width) : 1;
  return (
    <div class="map" ref={ref}>
      <div class="map-box" tabIndex={0} role="region" aria-label="Map">
        <svg width={Math.max(drawn.width * Math.max(scale, 0.62), 10)} height={drawn.height * Math.max(scale, 0.62)} viewBox={`0 0 ${drawn.width} ${drawn.height}`} role="group" aria-label="Map of who reaches whom; the table below says the same">
          <defs>
            <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto-start-reverse">
              <path d="M0 0L8 4L0 8z" fill="context-stroke" />
            </marker>
          </defs>
          {drawn.edges.map(({ edge, path, x, y }) => {
            const e = now.get(`${edge.from}\n${edge.to}\n${edge.kind}`) ?? edge;
            const bad = e.errors > 0;
            return (
              <g key={`${e.from}>${e.to}>${e.kind}`} class={`map-edge ${e.kind} ${bad ? "bad" : ""} ${e.calls ? "" : "silent"} ${touches(e) && !dim(e.from) ? "" : "dim"}`}>
                <title>{edgeText(e, seconds)}</title>
                <path d={path} marker-end="url(#arrow)" stroke-width={e.calls ? Math.min(4, 1.2 + Math.log10(1 + e.calls) * 0.6) : 1} />
                {e.calls > 0 && (
                  <text x={x} y={y} dy={bad ? "-3" : "4"} text-anchor="middle">
                    {rate(e.calls / seconds)}/s · {duration(e.p50)}
                    {bad && (
                      <tspan class="map-err" x={x} dy="13">
                        ✕ {percent(e.errors / e.calls)}
                      </tspan>
                    )}
                  </text>
                )}
              </g>
            );
          })}
          {drawn.nodes.map(({ node, x, y, w }) => {
            const n = nodes.get(node.name) ?? node;
            const own = known.has(n.name);
            const open = () => own && go(href("/service/" + encodeURIComponent(n.name)));
            return (
              <g
                key={n.name}
                class={`map-node ${n.kind} ${dim(n.name) ? "dim" : ""} ${n.errors ? "bad" : ""}`}
                transform={`translate(${x - w / 2} ${y - nodeH / 2})`}
                tabIndex={0}
                role={own ? "link" : "img"}
                aria-label={`${n.name}, ${n.kind}: ${count(n.calls)} requests, ${count(n.errors)} failed`}
                onMouseEnter={() => setOver(n.name)}
                onMouseLeave={() => setOver(undefined)}
                onFocus={() => setOver(n.name)}
                onBlur={() => setOver(undefined)}
                onClick={open}
                onKeyDown={(e) => e.key === "Enter" && open()}
              >
                <rect width={w} height={nodeH} rx={n.kind === "database" ? 15 : 8} />
                <rect class="map-hue" x="9" y={nodeH / 2 - 5} width="10" height="10" rx="3" style={{ fill: own ? colorOf(n.name) : "var(--muted)" }} />
                <text x="27" y={nodeH / 2 + 4.5}>
                  {n.name.length > 20 ? n.name.slice(0, 19) + "…" : n.name}
                </text>
              </g>
            );
          })}
        </svg>
      </div>
      <div class="map-key muted">
        <span class="k call">call</span> <span class="k event">event</span> <span class="k saga">step of a saga</span> <span class="k gateway">from the gateway</span> <span class="k silent">declared, silent in this time</span>
        <span>rate · median</span> {map.missed > 0 && <span>{count(map.missed)} calls on further edges are not drawn</span>}
      </div>
      <details>
        <summary>As a table</summary>
        <Table
          name="map"
          label="Who reaches whom"
          rows={full.edges}
          id={(e) => `${e.from}>${e.to}>${e.kind}`}
          cols={[
            { key: "from", head: "From", sort: (e) => e.from, cell: (e) => <Service name={e.from} link={known.has(e.from)} /> },
            { key: "to", head: "To", sort: (e) => e.to, cell: (e) => <Service name={e.to} link={known.has(e.to)} /> },
            { key: "by", head: "By", cell: (e) => kinds[e.kind] },
            { key: "calls", head: "Rate", num: true, sort: (e) => e.calls, cell: (e) => `${rate(e.calls / seconds)}/s` },
            { key: "errors", head: "Failed", num: true, sort: (e) => e.errors / Math.max(1, e.calls), cell: (e) => <span class={e.errors ? "bad-text" : "muted"}>{percent(e.errors / Math.max(1, e.calls))}</span> },
            { key: "p50", head: "p50", num: true, sort: (e) => e.p50, cell: (e) => duration(e.p50) },
            { key: "p99", head: "p99", num: true, sort: (e) => e.p99, cell: (e) => duration(e.p99) },
          ]}
        />
      </details>
    </div>
  );
}

function edgeText(e: MapEdge, seconds: number): string {
  if (!e.calls) return `${e.from} may call ${e.to}; in this time it did not`;
  return `${e.from} → ${e.to} (${kinds[e.kind]}): ${rate(e.calls / seconds)}/s, ${percent(e.errors / e.calls)} failed, p50 ${duration(e.p50)}, p99 ${duration(e.p99)}`;
}
