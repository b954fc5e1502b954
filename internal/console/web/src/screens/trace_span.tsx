// A span of a trace: all that is known of it.
import type { ComponentChildren } from "preact";
import { duration, percent, plural } from "../time";
import { criticalOf, ownOf, type Node, type Tree } from "../trace/model";
import { fieldText, valueText } from "../trace/querytext";
import type { Attributes } from "../types";
import { href } from "../url";
import { Copy, Mark, Service, Time, type Tone } from "../ui/basic";

const tones: Record<string, Tone> = { ok: "ok", error: "bad", unset: "off" };

export function SpanPanel({ node, tree, onClose }: { node: Node; tree: Tree; onClose: () => void }) {
  const s = node.span;
  const critical = criticalOf(node);
  const events = s.events ?? [];
  const links = s.links ?? [];
  const records = node.records.concat(node.near).sort((a, b) => (a.time < b.time ? -1 : 1));
  return (
    <aside class="card tc-side" aria-label="Span">
      <header>
        <div>
          <Service name={s.service} />
          <h2>{s.name}</h2>
        </div>
        <button type="button" class="quiet" aria-label="Close the span" onClick={onClose}>
          ✕
        </button>
      </header>
      <div>
        <dl class="facts">
          <dt>Status</dt>
          <dd>
            <Mark tone={tones[s.status] ?? "off"}>{s.status === "unset" ? "not set" : s.status}</Mark> {s.status_text}
          </dd>
          <dt>Kind</dt>
          <dd>{s.kind}</dd>
          <dt>Began</dt>
          <dd>
            <Time at={s.time} millis />, after {duration(node.from)}
          </dd>
          <dt>Took</dt>
          <dd>
            {duration(s.duration_ns)}, {duration(ownOf(node))} of it itself
          </dd>
          <dt>Critical</dt>
          <dd>{critical ? `${duration(critical)}, ${percent(critical / Math.max(tree.total, 1))} of the trace` : "nothing waited for it"}</dd>
          {node.moved !== 0 && (
            <>
              <dt>Clock</dt>
              <dd>moved by {duration(Math.abs(node.moved))}: the sender's clock differs</dd>
            </>
          )}
          {s.replica && (
            <>
              <dt>Replica</dt>
              <dd>{s.replica}</dd>
            </>
          )}
          {s.scope && (
            <>
              <dt>Library</dt>
              <dd>{s.scope}</dd>
            </>
          )}
          <dt>Span</dt>
          <dd>
            <code>{s.span_id}</code> <Copy text={s.span_id} />
          </dd>
          {node.orphan && (
            <>
              <dt>Parent</dt>
              <dd>
                <code>{s.parent_id}</code> is not here
              </dd>
            </>
          )}
        </dl>
      </div>
      <Part title={plural(Object.keys(s.attributes ?? {}).length, "attribute")} open show={!!s.attributes}>
        <Attrs of={s.attributes} />
      </Part>
      <Part title={plural(events.length, "event")} open show={events.length > 0}>
        {events.map((e, i) => (
          <div key={i} class={`tc-event ${e.name === "exception" ? "bad" : ""}`}>
            <strong>{e.name}</strong> <Time at={e.time} millis />
            <Attrs of={e.attributes} plain />
          </div>
        ))}
      </Part>
      <Part title={plural(records.length, "log record")} open show={records.length > 0}>
        {node.near.length > 0 && <p class="muted">{node.near.length === records.length ? "They name" : `${node.near.length} of them name`} no span: the service wrote them while this one was under way.</p>}
        {records.slice(0, 200).map((r, i) => (
          <div key={i} class={`tc-event ${r.level === "error" ? "bad" : ""}`}>
            <Time at={r.time} millis /> <strong>{r.level}</strong>
            <div class="mono">{r.text}</div>
          </div>
        ))}
      </Part>
      <Part title={plural(links.length, "link")} open show={links.length > 0}>
        {links.map((l, i) => (
          <p key={i}>
            <a href={href(`/trace/${l.trace_id}`, { s: l.span_id })}>
              trace <code>{l.trace_id.slice(0, 12)}…</code>
            </a>
          </p>
        ))}
      </Part>
      <Part title="Resource" show={!!s.resource}>
        <Attrs of={s.resource} />
      </Part>
    </aside>
  );
}

function Part({ title, open, show, children }: { title: string; open?: boolean; show: boolean; children: ComponentChildren }) {
  if (!show) return null;
  return (
    <details open={open}>
      <summary>{title}</summary>
      <div>{children}</div>
    </details>
  );
}

function Attrs({ of, plain }: { of: Attributes | undefined; plain?: boolean }) {
  return (
    <dl class="tc-attrs">
      {Object.entries(of ?? {})
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([k, v]) => (
          <div key={k}>
            <dt>{k}</dt>
            <dd>{typeof v === "object" ? JSON.stringify(v) : String(v)}</dd>
            {!plain && (
              <dd>
                <a href={href("/traces", { q: `${fieldText(k)} = ${valueText(v)}` })} aria-label={`Find spans where ${k} is the same`} title="Find spans where it is the same">
                  ⌕
                </a>
              </dd>
            )}
          </div>
        ))}
    </dl>
  );
}
