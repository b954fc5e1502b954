// How one event is shown, and what is selected.
import { Copy, Json, Service } from "../ui/basic";
import { href } from "../url";
import { plain } from "../pretty";
import type { CloudEvent, Settled } from "../types";

const shown = new Set(["specversion", "data", "data_base64", "id", "source", "type", "subject", "time", "datacontenttype", "traceparent"]);

/** traceOf is the trace that an event belongs to. */
function traceOf(e: CloudEvent): string | undefined {
  return /^00-([0-9a-f]{32})-/.exec(String(e.traceparent ?? ""))?.[1];
}

/** EventView is an event with its data. */
export function EventView({ event: e }: { event: CloudEvent }) {
  const trace = traceOf(e);
  const text = e.data !== undefined ? JSON.stringify(e.data, null, 2) : (e.data_base64 ?? "");
  return (
    <div class="events-view">
      <dl class="facts">
        <dt>Id</dt>
        <dd class="mono">{plain(e.id)}</dd>
        <dt>Type</dt>
        <dd>{plain(e.type)}</dd>
        <dt>Source</dt>
        <dd>{/^\/services\/[a-z0-9-]+$/.test(e.source) ? <Service name={e.source.slice(10)} /> : plain(e.source)}</dd>
        {e.subject && <dt>Subject</dt>}
        {e.subject && <dd>{plain(e.subject)}</dd>}
        {Object.entries(e)
          .filter(([k]) => !shown.has(k))
          .map(([k, v]) => (
            <>
              <dt>{plain(k)}</dt>
              <dd>{plain(String(v))}</dd>
            </>
          ))}
        {trace && <dt>Trace</dt>}
        {trace && (
          <dd>
            <a href={href("/trace/" + trace)}>What it belongs to →</a>
          </dd>
        )}
      </dl>
      <div class="card-head events-data">
        <h3>Data{e.data === undefined && e.data_base64 ? " (Base64)" : ""}</h3>
        <div class="actions">
          <Copy text={text} />
          <Copy text={JSON.stringify(e, null, 2)} label="Copy the event" />
        </div>
      </div>
      {e.data !== undefined ? <Json value={text} /> : e.data_base64 ? <pre>{e.data_base64}</pre> : <p class="muted">It has none.</p>}
    </div>
  );
}

/** base64 of a text in UTF-8. */
export function base64(text: string): string {
  let bin = "";
  for (const b of new TextEncoder().encode(text)) bin += String.fromCharCode(b);
  return btoa(bin);
}

/** settledText says what became of a selection. */
export const settledText = (verb: string, s: Settled) => `${s.done} ${verb}${s.failed?.length ? `, ${s.failed.length} not` : ""}`;
