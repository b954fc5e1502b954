import { useEffect, useMemo, useState } from "preact/hooks";
import { useAsk } from "../live";
import { useKeys } from "../keys";
import { count, duration, plural } from "../time";
import { criticalOf, textOf, treeOf, visible, type Node, type Tree } from "../trace/model";
import type { Trace } from "../types";
import { href, param, set } from "../url";
import { Answer, Card, Copy, Empty, Mark, Page, Service, Time } from "../ui/basic";
import { SpanPanel } from "./trace_span";
import { Waterfall, type Window } from "./trace_rows";
import "./trace.css";

export default function TraceScreen({ arg }: { arg: string; arg2: string }) {
  const asked = useAsk<Trace>(`/v1/traces/${encodeURIComponent(arg)}?records=true`);
  const tree = useMemo(() => asked.data && treeOf(asked.data), [asked.data]);
  if (!tree || !asked.data) {
    return (
      <Page title="Trace" sub={<code>{arg}</code>} actions={<a href={href("/traces")}>All traces</a>}>
        <Answer of={asked} rows={8}>
          {() => null}
        </Answer>
      </Page>
    );
  }
  return <Shown trace={asked.data} tree={tree} again={asked.again} loading={asked.loading} />;
}

function Shown({ trace, tree, again, loading }: { trace: Trace; tree: Tree; again: () => void; loading: boolean }) {
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const selected = tree.byID.get(param("s"));
  const find = param("find").toLowerCase();
  const hits = useMemo(() => (find ? tree.nodes.filter((n) => textOf(n).includes(find)) : []), [tree, find]);
  const hitSet = useMemo(() => (find ? new Set(hits) : undefined), [hits, find]);
  const rows = useMemo(() => visible(tree, folded), [tree, folded]);
  const win = windowOf(param("w"), tree.total);
  const errors = useMemo(() => tree.nodes.filter((n) => n.failed), [tree]);
  const services = useMemo(() => shares(tree), [tree]);
  const waiting = 1 - services.reduce((sum, [, share]) => sum + share, 0);
  const root = tree.roots[0]!;

  const select = (n: Node | undefined) => {
    if (n) {
      // What is selected can be seen: nothing above it stays folded.
      let open = folded;
      for (let p = n.parent; p; p = p.parent) if (open.has(p.span.span_id)) open = new Set([...open].filter((id) => id !== p.span.span_id));
      if (open !== folded) setFolded(open);
    }
    set({ s: n?.span.span_id });
  };
  const next = (list: Node[], by: 1 | -1) => {
    if (!list.length) return;
    const i = list.indexOf(selected!);
    const at = i >= 0 ? i + by : by > 0 ? list.findIndex((n) => !selected || tree.nodes.indexOf(n) > tree.nodes.indexOf(selected)) : list.length - 1;
    select(list[(at + list.length) % list.length]);
  };
  useKeys(
    [
      ["/", "Search within the trace", () => document.getElementById("tc-find")?.focus()],
      ["e", "Next error", () => next(errors, 1)],
      ["n", "Next found", () => next(hits, 1)],
      ["p", "Found before", () => next(hits, -1)],
      ["z", "Zoom to the span", () => selected && set({ w: `${selected.from}~${Math.max(selected.to, selected.from + 1)}` })],
      ["0", "Whole trace", () => set({ w: undefined })],
      ["Escape", "Close the span", () => select(undefined)],
    ],
    [tree, folded, selected, hits, errors],
  );
  const around = { from: new Date(Date.parse(tree.begin) - 60_000).toISOString(), to: new Date(Date.parse(tree.begin) + tree.total / 1e6 + 60_000).toISOString() };
  const records = tree.nodes.reduce((n, x) => n + x.records.length + x.near.length, tree.records.length);
  return (
    <Page
      title={
        <>
          {root.span.service} <span class="muted">{root.span.name}</span>
        </>
      }
      sub={
        <>
          <Time at={tree.begin} millis /> · {duration(tree.total)} · {plural(tree.nodes.length, "span")} · {errors.length ? <Mark tone="bad">{plural(errors.length, "error")}</Mark> : "no errors"}
        </>
      }
      actions={
        <>
          <a href={href("/logs", { q: `trace = ${trace.trace_id}`, t: `${around.from}~${around.to}` })}>{records ? `Logs (${count(records)})` : "Logs"}</a>
          <button type="button" onClick={again} disabled={loading}>
            Refresh
          </button>
          <button type="button" onClick={() => download(trace)}>
            Download JSON
          </button>
          <Copy text={trace.trace_id} label="Copy id" />
        </>
      }
    >
      <div class="tc-services">
        {services.map(([name, share]) => (
          <span key={name} class="nowrap">
            <Service name={name} /> <span class="muted">{whole(share)}</span>
          </span>
        ))}
        <span class="muted" title="Time that the services have on the critical path; in the rest none was at work, such as before an event is delivered or a step tried again.">
          of the time{waiting >= 0.005 ? `, ${whole(waiting)} waiting` : ""}
        </span>
      </div>
      <div class={`tc-body ${selected ? "with" : ""}`}>
        <Card flush>
          <div class="tc-tools">
            <Find value={param("find")} onEnter={(back) => next(hits, back ? -1 : 1)} />
            {find && <span class="muted" role="status">{plural(hits.length, "span")} found</span>}
            {errors.length > 0 && (
              <button type="button" onClick={() => next(errors, 1)}>
                Next error
              </button>
            )}
            <span class="grow" />
            {folded.size > 0 ? (
              <button type="button" class="quiet" onClick={() => setFolded(new Set())}>
                Unfold all
              </button>
            ) : (
              <button type="button" class="quiet" onClick={() => setFolded(new Set(tree.nodes.filter((n) => n.below.length && n.depth > 0).map((n) => n.span.span_id)))}>
                Fold
              </button>
            )}
            {win && (
              <button type="button" class="quiet" onClick={() => set({ w: undefined })}>
                Whole trace
              </button>
            )}
          </div>
          <Waterfall tree={tree} rows={rows} folded={folded} onFold={setFolded} selected={selected} onSelect={select} hits={hitSet} win={win} onWindow={(w) => set({ w: w && `${Math.round(w.from)}~${Math.round(w.to)}` })} />
          <div class="tc-legend">
            <span>
              <i class="crit" /> on the critical path
            </span>
            <span>▾ event</span>
            <span>│ log record</span>
            <span>
              <i class="tc-err">✕</i> error
            </span>
            <span>Arrow keys move and fold, Z zooms to a span, 0 shows the whole.</span>
          </div>
        </Card>
        {selected && <SpanPanel node={selected} tree={tree} onClose={() => select(undefined)} />}
      </div>
      {tree.records.length > 0 && (
        <Card title="Log records without a span">
          {tree.records.slice(0, 200).map((r, i) => (
            <p key={i} class="tc-event">
              <Time at={r.time} millis /> <strong>{r.level}</strong> {r.service}: {r.text}
            </p>
          ))}
        </Card>
      )}
      {tree.nodes.length === 0 && <Empty title="No spans">The trace has none that are kept.</Empty>}
    </Page>
  );
}

function Find({ value, onEnter }: { value: string; onEnter: (back: boolean) => void }) {
  const [text, setText] = useState(value);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => set({ find: text }), 200);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <input
      id="tc-find"
      type="search"
      placeholder="Search within the trace"
      aria-label="Search within the trace"
      value={text}
      onInput={(e) => setText(e.currentTarget.value)}
      onKeyDown={(e) => {
        if (e.key === "Enter") onEnter(e.shiftKey);
        if (e.key === "Escape") {
          e.stopPropagation();
          setText("");
          set({ find: undefined });
        }
      }}
    />
  );
}

/** shares are the services by how much of the trace's time is theirs on the critical path. */
function shares(tree: Tree): [string, number][] {
  const sums = new Map<string, number>();
  for (const n of tree.nodes) {
    const own = criticalOf(n);
    sums.set(n.span.service, (sums.get(n.span.service) ?? 0) + own);
  }
  return [...sums].sort((a, b) => b[1] - a[1]).map(([name, sum]) => [name, sum / Math.max(tree.total, 1)]);
}

const whole = (share: number) => `${share < 0.005 && share > 0 ? "<1" : Math.round(share * 100)} %`;

function windowOf(text: string, total: number): Window | undefined {
  const m = /^(\d+)~(\d+)$/.exec(text);
  if (!m || total <= 0) return undefined;
  const from = Math.min(Number(m[1]), total - 1);
  return { from, to: Math.max(Math.min(Number(m[2]), total), from + 1) };
}

function download(trace: Trace) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(trace, null, 2)], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `trace-${trace.trace_id}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
