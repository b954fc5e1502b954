// Logs: search over the range of time, with facets and a histogram, and the tail.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, Problem, q } from "../api";
import { useAsk, useLive } from "../live";
import { useKeys } from "../keys";
import { after, anyOf, every, parts } from "../pretty";
import { bounds, count, plural, range, rangeText, setRange, stepOf, clock, duration } from "../time";
import { param, set } from "../url";
import { Answer, Card, Empty, Failed, Loading, Page, colorOf, useWidth } from "../ui/basic";
import { Query } from "../ui/query";
import { Table, Virtual, type Col } from "../ui/table";
import type { Found, Level, LogRecord, TableAnswer } from "../types";
import { Detail, keyOf, levels, Row, useRowKeys, type Shown } from "./logrow";
import { Tail } from "./logtail";
import "./logs.css";

const page = 200;
const mostRows = 20_000;

const list = (name: string) => param(name).split(",").filter((v) => v);

export default function Logs() {
  const text = param("q");
  const live = param("live") === "1";
  const line = param("line");
  const [where, then] = parts(text);
  const services = list("service");
  const chosen = list("level").filter((l) => levels.includes(l as Level));
  const byService = anyOf("service", services);
  const byLevel = anyOf("level", chosen);
  const full = every(where, byService, byLevel);
  const [error, setError] = useState<Problem>();
  const [ref, width] = useWidth<HTMLDivElement>();
  const beside = width >= 1180;
  const open = (l: Shown) => set({ line: keyOf(l) === param("line") ? undefined : keyOf(l) });
  useKeys([["f", "Follow the lines, or search", () => set({ live: param("live") === "1" ? undefined : "1", line: undefined })]]);
  useEffect(() => setError(undefined), [full, then]);
  return (
    <Page
      title="Logs"
      sub={live ? "What the services write, as they write it" : rangeText(range.value)}
      actions={
        <div class="seg" role="group" aria-label="How">
          <button type="button" aria-pressed={!live} onClick={() => set({ live: undefined, line: undefined })}>
            Search
          </button>
          <button type="button" aria-pressed={live} onClick={() => set({ live: "1", line: undefined })}>
            Live
          </button>
        </div>
      }
    >
      <Query signal="logs" value={text} onAsk={(q) => set({ q, line: undefined }, false)} error={error} placeholder='"connection refused" and level >= warn' />
      <div ref={ref} class={`logs ${line && beside ? "with-detail" : ""}`}>
        <Facets base={where} services={services} levels={chosen} live={live} />
        <div class="logs-main">
          {live ? (
            <Card flush>
              <Tail query={full} open={line} onOpen={open} />
            </Card>
          ) : (
            <Search key={`${full}|${then}`} where={full} then={then} open={line} onOpen={open} onError={setError} />
          )}
        </div>
        {line && <Detail line={line} beside={beside} onClose={() => set({ line: undefined })} onOpen={open} />}
      </div>
    </Page>
  );
}

/** span is the range of time as it is at one moment, so that everything on the page is about the same. */
function useSpan() {
  const r = range.value;
  const [at, setAt] = useState(0);
  return { ...useMemo(() => {
    const { from, to } = bounds(r);
    return { from: from.toISOString(), to: to.toISOString() };
  }, [r, at]), again: () => setAt((n) => n + 1) };
}

function Facets({ base, services, levels: chosen, live }: { base: string; services: string[]; levels: string[]; live: boolean }) {
  const r = range.value;
  const { from, to } = r.minutes === undefined ? { from: r.from!.toISOString(), to: r.to!.toISOString() } : { from: `{now-${r.minutes}m}`, to: "{now}" };
  const byLevel = useLive<Found>("10s /v1/records" + q({ query: `${every(base, anyOf("service", services))} | count() by level`, from, to }));
  const byService = useLive<Found>("10s /v1/records" + q({ query: `${every(base, anyOf("level", chosen))} | count() by service | sort count desc | limit 500`, from, to }));
  const [narrow, setNarrow] = useState(() => matchMedia("(max-width: 820px)").matches);
  useEffect(() => {
    const m = matchMedia("(max-width: 820px)");
    const turn = () => setNarrow(m.matches);
    m.addEventListener("change", turn);
    return () => m.removeEventListener("change", turn);
  }, []);
  const n = services.length + chosen.length;
  const content = (
    <>
      <Facet name="level" title="Level" of={byLevel.data?.table} chosen={chosen} all={levels} />
      <Facet name="service" title="Service" of={byService.data?.table} chosen={services} />
      {n > 0 && (
        <button type="button" class="quiet" onClick={() => set({ service: undefined, level: undefined })}>
          Take all out
        </button>
      )}
      {live && <p class="muted logs-note">Counts are of the {rangeText(r)}.</p>}
    </>
  );
  if (!narrow) return <section class="logs-facets" aria-label="Facets">{content}</section>;
  return (
    <details class="logs-facets card">
      <summary>Level and service{n > 0 ? ` (${n} chosen)` : ""}</summary>
      {content}
    </details>
  );
}

function Facet({ name, title, of, chosen, all = [] }: { name: string; title: string; of?: TableAnswer; chosen: string[]; all?: string[] }) {
  const [more, setMore] = useState(false);
  const counts = new Map(of?.rows.map((r) => [String(r[0]), Number(r[1])]));
  for (const value of [...all, ...chosen]) if (!counts.has(value)) counts.set(value, 0);
  const values = all.length ? all.map((v): [string, number] => [v, counts.get(v)!]) : [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const shown = more ? values : values.slice(0, 12);
  const most = Math.max(1, ...values.map(([, n]) => n));
  const toggle = (value: string) => set({ [name]: (chosen.includes(value) ? chosen.filter((v) => v !== value) : [...chosen, value]).join(","), line: undefined });
  return (
    <fieldset>
      <legend>{title}</legend>
      {shown.map(([value, n]) => (
        <label key={value} class={`logs-facet ${name === "level" ? value : ""}`}>
          <input type="checkbox" checked={chosen.includes(value)} onChange={() => toggle(value)} />
          {name === "service" && <i class="dot" style={{ background: colorOf(value) }} />}
          <span class="cut">{value || "(none)"}</span>
          <b class="num">{of ? count(n) : "–"}</b>
          <i class="logs-share" style={{ width: `${(n / most) * 100}%` }} aria-hidden="true" />
        </label>
      ))}
      {values.length > 12 && (
        <button type="button" class="quiet" onClick={() => setMore(!more)}>
          {more ? "Fewer" : `All ${values.length}`}
        </button>
      )}
    </fieldset>
  );
}

interface Rows {
  rows: LogRecord[];
  done: boolean; // there is nothing older in the range
  reach?: Found["reach"];
  table?: TableAnswer;
}

/** useRows asks for the newest lines, and for older ones on demand. */
function useRows(where: string, then: string, from: string, to: string) {
  const [state, setState] = useState<{ data?: Rows; error?: Problem; loading: boolean }>({ loading: true });
  const stop = useRef<AbortController>(new AbortController());
  const ask = async (before: Rows | undefined, limit: number) => {
    stop.current.abort();
    const mine = (stop.current = new AbortController());
    setState((s) => ({ ...s, loading: true, error: undefined }));
    const oldest = before?.rows.at(-1);
    try {
      // What has the same time as the last line is not passed over.
      const end = oldest ? after(oldest.time) : to;
      const found = await get<Found>("/v1/records" + q({ query: `${where} ${then}`.trim(), from, to: end, limit: then ? undefined : limit }), mine.signal);
      if (found.table) return setState({ data: { rows: [], done: true, reach: found.reach, table: found.table }, loading: false });
      const records = found.records ?? [];
      const name = (r: LogRecord) => keyOf(r) + r.text + r.span_id;
      const known = new Set(before?.rows.slice(-2000).map(name));
      const fresh = records.filter((r) => !known.has(name(r)));
      if (before && fresh.length === 0 && records.length === limit && limit < 5000) return void ask(before, limit * 4);
      setState({ data: { rows: [...(before?.rows ?? []), ...fresh], done: !!then || records.length < limit, reach: found.reach }, loading: false });
    } catch (e) {
      if (!mine.signal.aborted) setState((s) => ({ data: s.data, error: e as Problem, loading: false }));
    }
  };
  useEffect(() => {
    ask(undefined, page);
    return () => stop.current.abort();
  }, [where, then, from, to]);
  return { ...state, again: () => ask(undefined, page), older: () => state.data && !state.loading && ask(state.data, page * 5) };
}

function Search({ where, then, open, onOpen, onError }: { where: string; then: string; open: string; onOpen: (line: Shown) => void; onError: (e: Problem | undefined) => void }) {
  const span = useSpan();
  const found = useRows(where, then, span.from, span.to);
  const bad = found.error?.column ? found.error : undefined;
  useEffect(() => onError(bad), [bad]);
  const relative = range.value.minutes !== undefined;
  const newer = useLive<Found>(relative && !then && found.data && !found.error ? "5s /v1/records" + q({ query: `${where} | count()`, from: span.to, to: "{now}" }) : null);
  const fresh = Number(newer.data?.table?.rows[0]?.[0] ?? 0);
  useKeys([["r", "Search anew", span.again]]);
  const rows = found.data?.rows ?? [];
  const day = new Date(span.from).toDateString() !== new Date(span.to).toDateString();
  if (bad) return null;
  return (
    <>
      {!then && <Histogram where={where} from={span.from} to={span.to} />}
      <Card flush>
        <div class="logs-bar">
          {found.data ? (
            <span class="muted">
              {found.data.table ? plural(found.data.table.rows.length, "row") : `${found.data.done ? "" : "the newest "}${plural(rows.length, "line")}`}
              {found.data.reach && <span class="from-m"> · looked at {count(found.data.reach.rows)}</span>}
            </span>
          ) : (
            <span class="muted">searching</span>
          )}
          <span class="grow" />
          {fresh > 0 && (
            <button type="button" onClick={span.again}>
              {plural(fresh, "newer line")}: show
            </button>
          )}
          {relative && !fresh && (
            <button type="button" class="quiet" onClick={span.again}>
              Search anew
            </button>
          )}
        </div>
        <Answer of={found} rows={10}>
          {(data) =>
            data.table ? (
              <Aggregate of={data.table} />
            ) : rows.length === 0 ? (
              <Empty title="No line fits in this time">
                Widen the range of time above, or take something out of the query. <button type="button" onClick={() => set({ live: "1" })}>Wait for new lines</button>
              </Empty>
            ) : (
              <Lines rows={rows} day={day} open={open} onOpen={onOpen} more={!data.done && rows.length < mostRows ? found.older : undefined} loading={found.loading} full={rows.length >= mostRows} />
            )
          }
        </Answer>
      </Card>
    </>
  );
}

/** Lines goes up and down by arrows, j and k; older lines are asked for at the end. */
function Lines({ rows, day, open, onOpen, more, loading, full }: { rows: LogRecord[]; day: boolean; open: string; onOpen: (line: Shown) => void; more?: () => void; loading: boolean; full: boolean }) {
  const { box, at, on } = useRowKeys(rows.length);
  return (
    <div ref={box} class="logs-lines" {...on}>
      <Virtual rows={rows} height={24} scrollTo={at} label="Lines, the newest first" render={(r, i) => <Row key={i} line={r} index={i} day={day} open={keyOf(r) === open} onOpen={onOpen} />} />
      <div class="logs-more">
        {more ? (
          <button type="button" disabled={loading} onClick={more}>
            {loading ? "Asking" : "Older lines"}
          </button>
        ) : (
          <span class="muted">{full ? "More are not shown at once: narrow the query or the range of time." : "This is all in this range of time."}</span>
        )}
      </div>
    </div>
  );
}

function Aggregate({ of }: { of: TableAnswer }) {
  const cell = (v: unknown, unit?: string) => (v === null ? "–" : typeof v !== "number" ? String(v) : unit === "ns" ? duration(v) : unit === "1/s" ? `${v.toPrecision(3)}/s` : count(Number(v.toFixed(3))));
  return (
    <Table
      label="Answer"
      rows={of.rows.map((row, i) => ({ row, i }))}
      id={(r) => String(r.i)}
      cols={of.columns.map((c, n): Col<{ row: TableAnswer["rows"][number]; i: number }> => ({
        key: c.name,
        head: c.name,
        num: c.role === "value",
        sort: (r) => (typeof r.row[n] === "number" ? (r.row[n] as number) : String(r.row[n] ?? "")),
        cell: (r) => (c.role === "time" ? clock(new Date(String(r.row[n]))) : cell(r.row[n], c.unit)),
      }))}
    />
  );
}

const colors: Record<Level, string> = { error: "var(--bad)", warn: "var(--logs-warn)", info: "var(--logs-info)", debug: "var(--line)" };

/** Histogram is the lines over time by level. Dragging over it narrows the range of time. */
function Histogram({ where, from, to }: { where: string; from: string; to: string }) {
  const [box, width] = useWidth<HTMLDivElement>();
  const step = stepOf(range.value, width > 700 ? 90 : 45);
  const asked = useAsk<Found>("/v1/records" + q({ query: `${where} | count() by level every ${step}s | limit 10000`, from, to }));
  const [over, setOver] = useState<number>();
  const [drag, setDrag] = useState<[number, number]>();
  const a = +new Date(from);
  const b = +new Date(to);
  const buckets = useMemo(() => {
    const all = new Map<number, Map<string, number>>();
    for (const [t, level, n] of asked.data?.table?.rows ?? []) {
      const at = +new Date(String(t));
      if (!all.has(at)) all.set(at, new Map());
      all.get(at)!.set(String(level), Number(n));
    }
    return [...all].map(([at, by]) => ({ at, by, n: [...by.values()].reduce((x, y) => x + y, 0) }));
  }, [asked.data]);
  if (asked.error) return asked.error.column ? null : <Failed error={asked.error} again={asked.again} />;
  const most = Math.max(1, ...buckets.map((x) => x.n));
  const x = (t: number) => ((t - a) / (b - a)) * width;
  const h = 64;
  const inv = (px: number) => a + (Math.min(Math.max(px, 0), width) / Math.max(1, width)) * (b - a);
  const hit = over === undefined ? undefined : buckets.find((k) => inv(over) >= k.at && inv(over) < k.at + step * 1000);
  const place = (e: PointerEvent) => e.clientX - (e.currentTarget as Element).getBoundingClientRect().left;
  const total = levels.map((l) => [l, buckets.reduce((n, k) => n + (k.by.get(l) ?? 0), 0)] as const).filter(([, n]) => n > 0);
  const end = () => {
    if (drag && Math.abs(drag[1] - drag[0]) > 4) setRange({ from: new Date(inv(Math.min(...drag))), to: new Date(inv(Math.max(...drag))) });
    setDrag(undefined);
  };
  return (
    <Card class="logs-histogram">
      <div ref={box}>
        {!asked.data && asked.loading ? (
          <Loading rows={2} />
        ) : (
          <svg
            width={width}
            height={h + 16}
            role="img"
            aria-label={`Lines over time: ${total.map(([l, n]) => `${count(n)} ${l}`).join(", ") || "none"}`}
            onPointerDown={(e) => {
              e.currentTarget.setPointerCapture(e.pointerId);
              setDrag([place(e), place(e)]);
            }}
            onPointerMove={(e) => {
              setOver(place(e));
              if (drag) setDrag([drag[0], place(e)]);
            }}
            onPointerUp={end}
            onPointerLeave={() => setOver(undefined)}
          >
            {buckets.map((k) => {
              let y = h;
              const left = Math.max(0, x(k.at));
              const w = Math.max(1, Math.min(width, x(k.at + step * 1000)) - left - 1);
              return levels.map((l) => {
                const n = k.by.get(l);
                if (!n) return null;
                const size = Math.max(1.5, (n / most) * (h - 4));
                y -= size;
                return <rect key={k.at + l} x={left} y={y} width={w} height={size} fill={colors[l]} />;
              });
            })}
            <line x1="0" x2={width} y1={h} y2={h} stroke="var(--line)" />
            {drag && <rect x={Math.min(...drag)} y="0" width={Math.abs(drag[1] - drag[0])} height={h} fill="var(--accent)" opacity="0.2" />}
            {[0, 0.25, 0.5, 0.75, 1].map((s) => (
              <text key={s} x={s * width} y={h + 13} text-anchor={s === 0 ? "start" : s === 1 ? "end" : "middle"}>
                {width > 420 || s * 2 === Math.round(s * 2) ? clock(new Date(a + s * (b - a))) : ""}
              </text>
            ))}
          </svg>
        )}
        <div class="logs-legend muted">
          {hit ? (
            <>
              <span>{clock(new Date(hit.at))}</span>
              {levels.filter((l) => hit.by.get(l)).map((l) => <span key={l}><i class="dot" style={{ background: colors[l] }} /> {l} <b>{count(hit.by.get(l)!)}</b></span>)}
            </>
          ) : (
            <>
              {total.map(([l, n]) => <span key={l}><i class="dot" style={{ background: colors[l] }} /> {l} <b>{count(n)}</b></span>)}
              {total.length > 0 && <span class="from-m">drag over it to look closer</span>}
            </>
          )}
        </div>
      </div>
    </Card>
  );
}
