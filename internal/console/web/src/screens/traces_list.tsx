// The list of traces that a query found.
import { count, duration } from "../time";
import type { TraceSummary } from "../types";
import { href, set } from "../url";
import { colorOf, Empty, Mark, Time } from "../ui/basic";
import { Table, type Col } from "../ui/table";

export function Results({ traces, limit, pick }: { traces: TraceSummary[]; limit: number; pick: string[] }) {
  if (traces.length === 0) return <Empty title="No traces here">Take a longer range at the top, a larger region, or a wider query.</Empty>;
  const longest = Math.max(...traces.map((t) => t.duration_ns), 1);
  const toggle = (id: string) => set({ pick: (pick.includes(id) ? pick.filter((p) => p !== id) : [...pick, id].slice(-2)).join(",") });
  const cols: Col<TraceSummary>[] = [
    {
      key: "pick",
      head: <span class="muted" title="Choose two to compare">⇄</span>,
      cell: (t) => (
        <label class="tr-pick">
          <input type="checkbox" checked={pick.includes(t.trace_id)} aria-label={`Compare ${t.service} ${t.name} of ${t.time}`} onChange={() => toggle(t.trace_id)} />
        </label>
      ),
    },
    { key: "time", head: "Time", cell: (t) => <Time at={t.time} />, sort: (t) => t.time },
    { key: "root", head: "Root", cell: (t) => <Root trace={t} />, sort: (t) => t.service + t.name },
    { key: "services", head: "Services", cell: (t) => <Dots names={t.services} />, sort: (t) => t.services.length, min: "m" },
    { key: "took", head: "Duration", cell: (t) => <Took ns={t.duration_ns} of={longest} />, sort: (t) => t.duration_ns, num: true },
    { key: "spans", head: "Spans", cell: (t) => count(t.spans), sort: (t) => t.spans, num: true, min: "s" },
    { key: "errors", head: "Errors", cell: (t) => (t.errors ? <Mark tone="bad">{count(t.errors)}</Mark> : <span class="muted">0</span>), sort: (t) => t.errors, num: true },
  ];
  return (
    <>
      <Table label="Traces" name="traces" cols={cols} rows={traces} id={(t) => t.trace_id} link={(t) => href(`/trace/${t.trace_id}`)} />
      {traces.length >= limit && limit < 1000 && (
        <div class="tr-more">
          <button type="button" onClick={() => set({ n: String(Math.min(limit * 4, 1000)) })}>
            Show more
          </button>
          <span class="muted">The newest {count(traces.length)} are shown.</span>
        </div>
      )}
    </>
  );
}

function Root({ trace }: { trace: TraceSummary }) {
  return (
    <span class="tr-root">
      <i class="dot" style={{ background: colorOf(trace.service) }} />
      <a class="cut" href={href(`/trace/${trace.trace_id}`)} title={`${trace.service} ${trace.name}`}>
        <strong>{trace.service}</strong> {trace.name}
      </a>
      {trace.status === "error" && trace.status_text && <span class="muted cut">{trace.status_text}</span>}
    </span>
  );
}

function Dots({ names }: { names: string[] }) {
  return (
    <span class="tr-dots" title={names.join(", ")} role="img" aria-label={names.join(", ")}>
      {names.slice(0, 10).map((n) => (
        <i key={n} class="dot" style={{ background: colorOf(n) }} />
      ))}
      {names.length > 10 && <span class="muted">+{names.length - 10}</span>}
    </span>
  );
}

export function Took({ ns, of }: { ns: number; of: number }) {
  return (
    <span class="tr-took">
      <i class="from-s" aria-hidden="true">
        <b style={{ width: `${(ns / of) * 100}%` }} />
      </i>
      {duration(ns)}
    </span>
  );
}
