// One line of log, and all that is known of it.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, Problem, q } from "../api";
import { useAsk } from "../live";
import { after, every, plain, quoted, readable } from "../pretty";
import { Copy, Dialog, Empty, Failed, Json, Loading, Mark, Service, Time, colorOf, type Tone } from "../ui/basic";
import { href } from "../url";
import type { Attributes, Found, Level, LogRecord } from "../types";

export interface Shown {
  time: string;
  service: string;
  replica?: string;
  level: Level;
  name?: string;
  text: string;
  trace_id?: string;
}

export const levels: Level[] = ["error", "warn", "info", "debug"];
const levelTone: Record<Level, Tone> = { error: "bad", warn: "warn", info: "off", debug: "off" };
const signs: Record<Level, string> = { error: "✕", warn: "▲", info: "●", debug: "○" };

/** keyOf finds a line again: when and where it was written. */
export const keyOf = (r: Shown) => `${r.time}~${r.service}~${r.replica ?? ""}`;

const longest = 4000; // of a line in the list; the detail shows all of it

const two = (n: number) => String(n).padStart(2, "0");

/** clockOf is fast: a thousand lines a second have one. */
function clockOf(time: string): string {
  const at = new Date(time);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

interface RowProps {
  line: Shown;
  index: number;
  open: boolean;
  onOpen: (line: Shown) => void;
  day?: boolean;
}

/** Row is one line, cut to the width there is. It is drawn anew only when it is another. */
export function Row(p: RowProps) {
  return useMemo(() => draw(p), [p.line, p.index, p.open, p.day]);
}

function draw({ line, index, open, onOpen, day }: RowProps) {
  const { message, fields } = readable(line.text.length > longest ? line.text.slice(0, longest) : line.text);
  const at = new Date(line.time);
  return (
    <div role="listitem" class="logs-item">
      <button type="button" tabIndex={-1} data-i={index} class={`logs-row ${line.level} ${open ? "open" : ""}`} aria-current={open || undefined} onClick={() => onOpen(line)}>
        <time dateTime={line.time} title={at.toISOString().replace("T", " ").replace("Z", " UTC")}>
          {day && <span class="logs-day">{at.toLocaleDateString([], { month: "short", day: "numeric" })} </span>}
          {clockOf(line.time)}
        </time>
        <span class="logs-level">
          <i aria-hidden="true">{signs[line.level]}</i>
          <span>{line.level}</span>
        </span>
        <span class="logs-service" title={line.replica || line.service}>
          <i class="dot" style={{ background: colorOf(line.service) }} />
          <span>{line.service}</span>
        </span>
        <span class="logs-text">
          {line.name && <b>{plain(line.name)} </b>}
          {message}
          {fields.map(([key, value]) => (
            <span class="logs-field" key={key}>
              {" "}
              {key}=<span>{value}</span>
            </span>
          ))}
        </span>
      </button>
    </div>
  );
}

/** useRowKeys goes through rows by arrows, j and k; Enter opens the one that has the focus. */
export function useRowKeys(n: number, first = -1, began?: () => void) {
  const box = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState<number>();
  const cursor = useRef<number | undefined>(undefined);
  useEffect(() => {
    if (at === undefined) return;
    const frame = requestAnimationFrame(() => row(at)?.focus({ preventScroll: true }));
    return () => cancelAnimationFrame(frame);
  }, [at]);
  const row = (i: number) => box.current?.querySelector<HTMLElement>(`[data-i="${i}"]`);
  const onKeyDown = (e: KeyboardEvent) => {
    // Enter may come before the focus has followed.
    if (e.key === "Enter" && cursor.current !== undefined && (e.target as HTMLElement).dataset.i !== String(cursor.current)) {
      e.preventDefault();
      const i = cursor.current;
      requestAnimationFrame(() => requestAnimationFrame(() => row(i)?.click()));
      return;
    }
    const by = e.key === "ArrowDown" || e.key === "j" ? 1 : e.key === "ArrowUp" || e.key === "k" ? -1 : e.key === "PageDown" ? 20 : e.key === "PageUp" ? -20 : 0;
    if (!by || e.ctrlKey || e.metaKey || e.altKey || n === 0) return;
    e.preventDefault();
    began?.();
    // Keys come faster than frames: the place is kept here, not where the focus is by now.
    cursor.current = Math.min(Math.max((cursor.current ?? first) + by, 0), n - 1);
    setAt(cursor.current);
  };
  const onClick = (e: MouseEvent) => {
    const i = (e.target as Element).closest<HTMLElement>("[data-i]")?.dataset.i;
    if (i !== undefined) cursor.current = Number(i);
  };
  const forget = () => {
    cursor.current = undefined;
    setAt(undefined);
  };
  return { box, at, on: { onKeyDown, onClick }, forget };
}

/** Detail is a line with its attributes, its trace, and the lines around it. It stands beside the list where there is room. */
export function Detail({ line, onClose, onOpen, beside }: { line: string; onClose: () => void; onOpen: (line: Shown) => void; beside: boolean }) {
  const [time = "", service = "", replica = ""] = line.split("~");
  const from = new Date(time);
  const ask = isNaN(+from) ? null : "/v1/records" + q({ query: place(service, replica), from: time, to: after(time), limit: 100 });
  const found = useAsk<Found>(ask);
  const record = found.data?.records?.find((r) => r.time === time) ?? found.data?.records?.[0];
  // A line of the tail is stored a moment after it was shown.
  useEffect(() => {
    if (!found.data || record || Date.now() - +from > 10_000) return;
    const again = setTimeout(found.again, 700);
    return () => clearTimeout(again);
  }, [found.data]);
  const content = record ? (
    <Whole record={record} onOpen={onOpen} />
  ) : found.error ? (
    <Failed error={found.error} again={found.again} />
  ) : found.loading || Date.now() - +from < 10_000 ? (
    <Loading />
  ) : (
    <Empty title="This line is not kept any more">The oldest are dropped by age and size; <code>{"telemetry: {keep: {age: 336h, size: 8GB}}"}</code> in atoll.yaml keeps more.</Empty>
  );
  if (!beside) {
    return (
      <Dialog title="Line" onClose={onClose} wide>
        {content}
      </Dialog>
    );
  }
  return (
    <aside class="card logs-detail" aria-label="Line">
      <div class="card-head">
        <h2>Line</h2>
        <button type="button" class="quiet" aria-label="Close" onClick={onClose}>
          ✕
        </button>
      </div>
      {content}
    </aside>
  );
}

const place = (service: string, replica: string) => every(`service = ${quoted(service)}`, replica && `replica = ${quoted(replica)}`);

function Whole({ record: r, onOpen }: { record: LogRecord; onOpen: (line: Shown) => void }) {
  const { message, fields } = readable(r.text);
  return (
    <div class="logs-whole">
      <div class="logs-facts">
        <Mark tone={levelTone[r.level]}>{r.level}</Mark>
        <Service name={r.service} />
        {r.replica && <span class="muted">{r.replica}</span>}
        <Time at={r.time} millis />
      </div>
      <pre class="logs-message">{message || plain(r.text)}</pre>
      {fields.length > 0 && <Fields of={Object.fromEntries(fields)} />}
      <div class="actions">
        {r.trace_id && (
          <a href={href("/trace/" + r.trace_id, { s: r.span_id })}>
            Its trace →
          </a>
        )}
        <Copy text={r.text} label="Copy the line" />
        <Copy text={JSON.stringify(r, null, 2)} label="Copy all as JSON" />
      </div>
      <Section title="Attributes" of={r.attributes} />
      <Section title="Of the service" of={r.resource} />
      <Context record={r} onOpen={onOpen} />
    </div>
  );
}

function Section({ title, of }: { title: string; of?: Attributes }) {
  if (!of || Object.keys(of).length === 0) return null;
  return (
    <section>
      <h3>{title}</h3>
      <Fields of={of} />
    </section>
  );
}

function Fields({ of }: { of: Record<string, unknown> }) {
  return (
    <dl class="facts logs-fields">
      {Object.entries(of).map(([key, value]) => (
        <>
          <dt>{plain(key)}</dt>
          <dd>{typeof value === "object" && value !== null ? <Json value={value} /> : plain(String(value)) || <span class="muted">empty</span>}</dd>
        </>
      ))}
    </dl>
  );
}

/** Context is what the same replica wrote before and after. */
function Context({ record: r, onOpen }: { record: LogRecord; onOpen: (line: Shown) => void }) {
  const [lines, setLines] = useState<LogRecord[]>();
  const [failed, setFailed] = useState<Problem>();
  const [wide, setWide] = useState(6);
  const where = place(r.service, r.replica ?? "");
  useEffect(() => {
    setWide(6);
    setLines(undefined);
  }, [r.time, where]);
  useEffect(() => {
    const stop = new AbortController();
    const ask = (query: string, range: { from?: string; to?: string }) => get<Found>("/v1/records" + q({ query, ...range }), stop.signal);
    Promise.all([ask(`${where} | limit ${wide}`, { to: r.time }), ask(`${where} | sort time asc | limit ${wide + 1}`, { from: r.time })]).then(
      ([before, after]) => {
        const known = new Set<string>();
        const all = [...(before.records ?? []).reverse(), ...(after.records ?? [])];
        setFailed(undefined);
        setLines(all.filter((l) => !known.has(keyOf(l) + l.text) && known.add(keyOf(l) + l.text)));
      },
      (e) => !stop.signal.aborted && setFailed(e),
    );
    return () => stop.abort();
  }, [r.time, where, wide]);
  return (
    <section>
      <h3>Context: {r.replica || r.service} before and after</h3>
      {failed ? (
        <Failed error={failed} />
      ) : !lines ? (
        <Loading rows={5} />
      ) : (
        <>
          <div class="logs-context" role="list" aria-label="Lines before and after">
            {lines.map((l, i) => {
              const me = l.time === r.time && l.text === r.text;
              return (
                <div role="listitem" key={keyOf(l) + i}>
                  <button type="button" class={`logs-row ${l.level} ${me ? "open" : ""}`} aria-current={me || undefined} onClick={() => onOpen(l)}>
                    <time dateTime={l.time}>{clockOf(l.time)}</time>
                    <span class="logs-level">
                      <i aria-hidden="true">{signs[l.level]}</i>
                      <span>{l.level}</span>
                    </span>
                    <span class="logs-text">{oneLine(l.text)}</span>
                  </button>
                </div>
              );
            })}
          </div>
          {wide < 200 && (
            <button type="button" class="quiet" onClick={() => setWide(wide * 4)}>
              More around it
            </button>
          )}
        </>
      )}
    </section>
  );
}

function oneLine(text: string): string {
  const { message, fields } = readable(text);
  return [message, ...fields.map(([k, v]) => `${k}=${v}`)].join(" ");
}
