// A trace as a tree with its times, and the critical path through it: the same as atoll trace shows (internal/cli/waterfall.go).
import type { LogRecord, Span, Trace } from "../types";

/** Node is a span in its tree; times are nanoseconds after the first moment of the trace. */
export interface Node {
  span: Span;
  index: number;
  parent: Node | undefined;
  below: Node[]; // by their start
  depth: number;
  under: number; // spans below it, all of them
  from: number;
  to: number;
  moved: number; // by how much its clock was set right
  orphan: boolean; // its parent is not there
  failed: boolean;
  failedBelow: boolean;
  critical: [from: number, to: number][]; // the parts that the trace took as long as it did for
  records: LogRecord[];
  near: LogRecord[]; // that name no span, but were written by its service while it was under way
}

export interface Tree {
  nodes: Node[]; // in the order of the tree
  roots: Node[];
  byID: Map<string, Node>;
  total: number;
  begin: string; // time of the first span
  origin: Nanos; // the moment that times are counted from
  records: LogRecord[]; // that belong to no span that is there
}

interface Nanos {
  seconds: number;
  nanos: number;
}

function nanosOf(time: string): Nanos {
  const m = /^(.*?T\d\d:\d\d:\d\d)(?:\.(\d+))?(.*)$/.exec(time);
  if (!m) return { seconds: 0, nanos: 0 };
  return { seconds: Date.parse(m[1]! + m[3]!) / 1000, nanos: Number((m[2] ?? "").padEnd(9, "0").slice(0, 9)) };
}

/** since is the nanoseconds from one moment to another, which a number holds exactly for three months. */
export function since(origin: Nanos, time: string): number {
  const at = nanosOf(time);
  return (at.seconds - origin.seconds) * 1e9 + (at.nanos - origin.nanos);
}

/** treeOf makes the tree. A span whose parent is not there stands at the top, and so does the first one of a circle. */
export function treeOf(trace: Trace): Tree {
  const spans = trace.spans;
  const origin = spans.map((s) => nanosOf(s.time)).reduce((a, b) => (b.seconds < a.seconds || (b.seconds === a.seconds && b.nanos < a.nanos) ? b : a), nanosOf(spans[0]?.time ?? ""));
  const all = spans.map((span, index): Node => {
    const from = since(origin, span.time);
    return { span, index, parent: undefined, below: [], depth: 0, under: 0, from, to: from + Math.max(span.duration_ns, 0), moved: 0, orphan: false, failed: span.status === "error", failedBelow: false, critical: [], records: [], near: [] };
  });
  const byID = new Map<string, Node>();
  for (const n of all) if (!byID.has(n.span.span_id)) byID.set(n.span.span_id, n);
  const roots = link(all, byID);
  setClocks(roots);
  let first = Infinity;
  for (const n of all) first = Math.min(first, n.from);
  let total = 0;
  for (const n of all) {
    n.from -= first;
    n.to -= first;
    total = Math.max(total, n.to);
  }
  const moved = { seconds: origin.seconds, nanos: origin.nanos + (all.length ? first : 0) };
  const nodes = inOrder(roots);
  const tree: Tree = { nodes, roots, byID, total, begin: spans[0]?.time ?? "", origin: moved, records: [] };
  for (const n of all) if (since(origin, n.span.time) === first + n.from && n.from === 0) tree.begin = n.span.time;
  findCritical(tree);
  for (const r of trace.records ?? []) (byID.get(r.span_id ?? "")?.records ?? nearest(tree, r)?.near ?? tree.records).push(r);
  return tree;
}

const lateBy = 10e6; // nanoseconds after its end that what a span did may be written

/** nearest is the shortest span of a record's service that was under way when it was written; of the gateway's, a span at the top. */
function nearest(tree: Tree, r: LogRecord): Node | undefined {
  const at = since(tree.origin, r.time);
  const took = (n: Node) => n.to - n.from + (at > n.to ? lateBy : 0);
  let best: Node | undefined;
  for (const n of r.service === "gateway" ? tree.roots : tree.nodes) {
    if (n.span.service !== r.service && r.service !== "gateway") continue;
    if (at >= n.from && at <= n.to + lateBy && (!best || took(n) < took(best))) best = n;
  }
  return best;
}

function link(all: Node[], byID: Map<string, Node>): Node[] {
  const order = all.slice().sort((a, b) => a.from - b.from || b.to - a.to || a.index - b.index);
  const roots: Node[] = [];
  for (const n of order) {
    const parent = n.span.parent_id ? byID.get(n.span.parent_id) : undefined;
    if (!parent || parent === n) {
      n.orphan = !!n.span.parent_id && !parent;
      roots.push(n);
    } else parent.below.push(n);
  }
  const reached = new Set<Node>();
  const reach = (stack: Node[]) => {
    for (let n = stack.pop(); n; n = stack.pop()) {
      reached.add(n);
      n.below = n.below.filter((b) => !reached.has(b));
      for (const b of n.below) {
        b.parent = n;
        stack.push(b);
      }
    }
  };
  reach(roots.slice());
  for (const n of order) {
    if (reached.has(n)) continue;
    roots.push(n);
    reach([n]);
    n.parent = undefined;
  }
  return roots;
}

/** oneClock: the same replica has told both times, or Atoll has. A step of a saga may well begin long after its parent has ended. */
const oneClock = (a: Span, b: Span) => (a.service === b.service && a.replica === b.replica) || (a.scope === "atoll" && b.scope === "atoll");

/** setClocks sets right what another replica's clock says: nothing begins before its cause, and a server's span is within its caller's. */
function setClocks(roots: Node[]) {
  const stack = roots.slice();
  for (let parent = stack.pop(); parent; parent = stack.pop()) {
    for (const n of parent.below) {
      const took = n.to - n.from;
      const room = parent.to - parent.from;
      if (oneClock(n.span, parent.span)) n.moved = parent.moved;
      else if (n.span.kind === "server" && took <= room && (n.from < parent.from || n.from > parent.to)) n.moved = parent.from + Math.floor((room - took) / 2) - n.from;
      else if (n.from < parent.from) n.moved = parent.from - n.from;
      n.from += n.moved;
      n.to += n.moved;
      stack.push(n);
    }
  }
}

function inOrder(roots: Node[]): Node[] {
  const nodes: Node[] = [];
  const stack = roots.slice().reverse();
  for (let n = stack.pop(); n; n = stack.pop()) {
    n.depth = n.parent ? n.parent.depth + 1 : 0;
    nodes.push(n);
    for (let i = n.below.length - 1; i >= 0; i--) stack.push(n.below[i]!);
  }
  for (let i = nodes.length - 1; i >= 0; i--) {
    const n = nodes[i]!;
    if (!n.parent) continue;
    n.parent.under += n.under + 1;
    n.parent.failedBelow ||= n.failed || n.failedBelow;
  }
  return nodes;
}

/** beyond: its parent did not wait for what begins after its end, nor for the consumer of an event that ends after it. */
const beyond = (n: Node) => !!n.parent && n.to > n.parent.to && (n.from >= n.parent.to || n.span.kind === "consumer");

/**
 * findCritical marks the times that the trace took as long as it did for: from its end backwards, of what had begun that which came after and
 * was still under way, or else of what ended last. Of a span's time those below have what they are critical for, the span itself has the rest.
 */
function findCritical(tree: Tree) {
  const reach = new Map<Node, number>(); // when the last of all above a span ended
  for (const n of tree.nodes) reach.set(n, n.parent ? Math.max(n.parent.to, reach.get(n.parent)!) : -1);
  const top = tree.roots.concat(tree.nodes.filter(beyond)).sort((a, b) => b.to - a.to || a.from - b.from || a.index - b.index);
  let until = tree.total;
  for (const n of top) {
    if (n.to > until) continue;
    for (let at: Node | undefined = n; at; at = reach.get(at)! >= until ? before(at, until) : undefined) {
      walkCritical(at, Math.min(at.to, until));
      until = Math.min(until, at.from);
    }
  }
}

/** before is the nearest above a span that was under way until a moment. */
function before(n: Node, until: number): Node | undefined {
  for (let p = n.parent; p; p = p.parent) if (p.from < until && p.to >= until) return p;
  return undefined;
}

/** walkCritical takes a span's time until a moment apart: what of it those below have, and the rest of its own. */
function walkCritical(of: Node, limit: number) {
  const work: [n: Node, from: number, limit: number][] = [[of, of.from, limit]];
  for (let w = work.pop(); w; w = work.pop()) {
    const [parent, from, limit] = w;
    let until = limit;
    const mark = (a: number, b: number) => b > a && parent.critical.push([a, b]);
    const byEnd = parent.below.filter((n) => !beyond(n)).sort((a, b) => Math.min(b.to, limit) - Math.min(a.to, limit) || a.from - b.from || a.index - b.index);
    for (const n of byEnd) {
      const start = Math.max(n.from, from);
      const end = Math.min(n.to, limit);
      if (end > until || start >= end) continue;
      mark(end, until);
      work.push([n, start, end]);
      until = start;
    }
    mark(from, until);
  }
}

/** criticalOf is how much of the trace's time a span alone is to blame for. */
export const criticalOf = (n: Node) => n.critical.reduce((sum, [a, b]) => sum + b - a, 0);

/** ownOf is the time of a span in which none below it was under way. */
export function ownOf(n: Node): number {
  let covered = 0;
  let at = n.from;
  for (const b of n.below) {
    const from = Math.max(b.from, at);
    const to = Math.min(b.to, n.to);
    if (to > from) {
      covered += to - from;
      at = to;
    }
  }
  return n.to - n.from - covered;
}

/** visible are the nodes that are not below a folded one. */
export function visible(tree: Tree, folded: ReadonlySet<string>): Node[] {
  if (folded.size === 0) return tree.nodes;
  const out: Node[] = [];
  for (let i = 0; i < tree.nodes.length; i++) {
    const n = tree.nodes[i]!;
    out.push(n);
    if (folded.has(n.span.span_id)) i += n.under;
  }
  return out;
}

/** textOf is what a search within a trace looks at. */
export function textOf(n: Node): string {
  const s = n.span;
  const attributes = (a: Record<string, unknown> | undefined) => Object.entries(a ?? {}).map(([k, v]) => `${k}=${typeof v === "object" ? JSON.stringify(v) : v}`);
  return [s.service, s.name, s.kind, s.status, s.status_text, s.span_id, ...attributes(s.attributes), ...(s.events ?? []).map((e) => e.name), ...n.records.map((r) => r.text), ...n.near.map((r) => r.text)].join("\n").toLowerCase();
}

/** Pair is a place in two traces: the path of services and names to it, and the spans that both have there. */
export interface Pair {
  key: string; // its number
  service: string;
  name: string;
  depth: number;
  parent: Pair | undefined;
  below: Pair[];
  a: Side;
  b: Side;
}

interface Side {
  spans: Node[];
  total: number; // nanoseconds, of all of them
  errors: number;
}

const side = (): Side => ({ spans: [], total: 0, errors: 0 });

/** pairsOf lays two traces over one another: spans of the same service, name and kind below the same path are one place. */
export function pairsOf(a: Tree, b: Tree): Pair[] {
  const roots: Pair[] = [];
  const places = new Map<Node, Pair>();
  const byKey = new Map<string, Pair>();
  const lay = (tree: Tree, which: "a" | "b") => {
    for (const n of tree.nodes) {
      const parent = n.parent && places.get(n.parent);
      const key = `${parent?.key ?? ""}\u0001${n.span.service}\u0000${n.span.name}\u0000${n.span.kind}`;
      let pair = byKey.get(key);
      if (!pair) {
        pair = { key: String(byKey.size), service: n.span.service, name: n.span.name, depth: parent ? parent.depth + 1 : 0, parent, below: [], a: side(), b: side() };
        byKey.set(key, pair);
        (parent?.below ?? roots).push(pair);
      }
      places.set(n, pair);
      const s = pair[which];
      s.spans.push(n);
      s.total += n.to - n.from;
      if (n.failed) s.errors++;
    }
  };
  lay(a, "a");
  lay(b, "b");
  const out: Pair[] = [];
  const stack = roots.reverse();
  for (let p = stack.pop(); p; p = stack.pop()) {
    out.push(p);
    for (let i = p.below.length - 1; i >= 0; i--) stack.push(p.below[i]!);
  }
  return out;
}

/**
 * blameOf is what makes the most of the difference between two traces' times: a place by its time on the critical path, or undefined for
 * the time in which none was at work. All of these differences add up to that of the traces.
 */
export function blameOf(pairs: readonly Pair[], a: Tree, b: Tree): { pair: Pair | undefined; more: number } {
  const critical = (nodes: Node[]) => nodes.reduce((sum, n) => sum + criticalOf(n), 0);
  let best: { pair: Pair | undefined; more: number } = { pair: undefined, more: b.total - critical(b.nodes) - (a.total - critical(a.nodes)) };
  for (const pair of pairs) {
    const more = critical(pair.b.spans) - critical(pair.a.spans);
    if (Math.abs(more) > Math.abs(best.more)) best = { pair, more };
  }
  return best;
}
