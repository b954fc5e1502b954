// Sagas: definitions, and their instances to search, select and act on.
import { useEffect, useRef, useState, type Dispatch, type StateUpdater } from "preact/hooks";
import { get, post, Problem, q } from "../api";
import { useAsk, useLive } from "../live";
import { useKeys } from "../keys";
import { operator } from "../operator";
import { bounds, count, duration, moving, plural, range, rangeText } from "../time";
import { go, href, param, set } from "../url";
import { Answer, Card, Dialog, Empty, Failed, Loading, Page, sentence, Time } from "../ui/basic";
import { notify } from "../ui/notices";
import { picking, Table, type Col } from "../ui/table";
import type { Saga, SagaActed, SagaDetail, SagaInstance } from "../types";
import { State, states, sagaTone } from "./sagaparts";
import { Confirm, json } from "../ui/confirm";
import "./sagas.css";

const page = 50;

export default function Sagas() {
  const sagas = useLive<{ sagas: Saga[] | null }>("2s /v1/sagas");
  const [starting, setStarting] = useState("");
  return (
    <Page title="Sagas" sub="Processes over several services, each done whole or undone">
      <Answer of={sagas} rows={6}>
        {({ sagas: list }) => {
          const all = list ?? [];
          if (all.length === 0)
            return (
              <Card>
                <Empty title="There is no saga yet">
                  Write one into <code>sagas/order.yaml</code>, and add <code>{'sagas: ["sagas/*.yaml"]'}</code> to atoll.yaml. It appears here by itself.
                </Empty>
              </Card>
            );
          return (
            <>
              <Definitions sagas={all} onStart={setStarting} />
              <Instances sagas={all} />
              {starting && <Start saga={starting} onClose={() => setStarting("")} />}
            </>
          );
        }}
      </Answer>
    </Page>
  );
}

function Definitions({ sagas, onStart }: { sagas: Saga[]; onStart: (saga: string) => void }) {
  const chosen = param("saga");
  return (
    <div class="sagas-defs">
      {sagas.map((s) => (
        <section key={s.saga} class={`card sagas-def ${chosen === s.saga ? "chosen" : ""}`}>
          <div class="card-head">
            <h2>
              <a href={href("/sagas", { saga: chosen === s.saga ? undefined : s.saga, state: param("state") })}>{s.saga}</a>
            </h2>
            {s.in_force ? (
              <button type="button" onClick={() => onStart(s.saga)}>
                Start one
              </button>
            ) : (
              <span class="tag" title="Its instances go on with the definition that they began with; no new ones begin.">
                gone from the manifest
              </span>
            )}
          </div>
          <p class="muted">{s.summary}</p>
          <p class="sagas-facts muted">
            <span>{plural(s.steps.length, "step")}</span>
            <span>version {s.version.slice(0, 8)}</span>
            {s.owner && <span>owner {s.owner}</span>}
            {(s.started_by ?? []).length > 0 && <span>started by {s.started_by!.map((b) => (b.kind === "service" ? b.name : `${b.kind} ${b.name}${b.when ? ` (${b.when})` : ""}`)).join(", ")}</span>}
          </p>
          <div class="sagas-counts">
            {states.map((state) => {
              const n = s.instances[state] ?? 0;
              const on = chosen === s.saga && param("state") === state;
              return (
                <a key={state} class={`sagas-count ${n ? sagaTone[state] : "none"}`} aria-current={on || undefined} href={href("/sagas", on ? {} : { saga: s.saga, state })}>
                  <b>{count(n)}</b> {state}
                </a>
              );
            })}
          </div>
        </section>
      ))}
    </div>
  );
}

/** filter is the part of a question that the address holds. */
function filter() {
  const r = range.value;
  // By itself the range of time does not narrow: what waits for a person may be old.
  const timed = param("within") === "1";
  const { from, to } = bounds(r);
  return {
    saga: param("saga"),
    state: param("state").split(",").filter((s) => states.includes(s as SagaInstance["state"])),
    key: param("key"),
    step: param("step"),
    error: param("error"),
    since: timed ? from.toISOString() : "",
    until: timed && r.minutes === undefined ? to.toISOString() : "",
  };
}

const path = (f: ReturnType<typeof filter>, before = "", limit = page) => {
  const { state, ...rest } = f;
  const head = q({ ...rest, before, limit });
  return "/v1/saga-instances" + head + state.map((s) => `${head ? "&" : "?"}state=${s}`).join("");
};

function Instances({ sagas }: { sagas: Saga[] }) {
  const [at, setAt] = useState(0);
  const f = filter();
  const name = JSON.stringify({ ...f, since: f.since ? rangeText(range.value) : "", at });
  const first = useLive<{ instances: SagaInstance[]; next?: string }>("2s " + path({ ...f, since: f.since && moving().from }));
  const [older, setOlder] = useState<{ rows: SagaInstance[]; next?: string; loading?: boolean; error?: Problem }>();
  const [picked, setPicked] = useState<Set<string>>(new Set());
  const [doing, setDoing] = useState<"" | "retry" | "skip" | "cancel">("");
  const search = useRef<HTMLInputElement>(null);
  useKeys([["/", "Search", () => search.current?.focus()]]);
  useEffect(() => {
    setOlder(undefined);
    setPicked(new Set());
  }, [name]);
  const more = async () => {
    const next = older ? older.next : first.data?.next;
    if (!next) return;
    setOlder({ rows: older?.rows ?? [], next, loading: true });
    try {
      const got = await get<{ instances: SagaInstance[]; next?: string }>(path(f, next, page * 2));
      setOlder({ rows: [...(older?.rows ?? []), ...got.instances], next: got.next });
    } catch (e) {
      setOlder({ rows: older?.rows ?? [], next, error: e as Problem });
    }
  };
  const have = new Set(first.data?.instances.map((i) => i.id));
  const rows = [...(first.data?.instances ?? []), ...(older?.rows ?? []).filter((i) => !have.has(i.id))];
  const next = older ? older.next : first.data?.next;
  const open = rows.filter((r) => r.state !== "completed" && r.state !== "compensated");
  const field = (key: string, label: string, hint: string) => (
    <input key={key} ref={key === "key" ? search : undefined} type="search" aria-label={label} placeholder={hint} value={param(key)} onChange={(e) => set({ [key]: e.currentTarget.value.trim() })} onKeyDown={(e) => e.key === "Escape" && e.currentTarget.blur()} />
  );
  return (
    <Card
      flush
      title="Instances"
      actions={
        <div class="sagas-filter">
          <select aria-label="Saga" value={f.saga} onChange={(e) => set({ saga: e.currentTarget.value })}>
            <option value="">all sagas</option>
            {[...new Set(sagas.map((s) => s.saga))].map((s) => (
              <option key={s}>{s}</option>
            ))}
          </select>
          <select aria-label="State" value={param("state")} onChange={(e) => set({ state: e.currentTarget.value })}>
            <option value="">any state</option>
            <option value="parked,running,compensating">not ended</option>
            {states.map((s) => (
              <option key={s}>{s}</option>
            ))}
          </select>
          {field("key", "Key", "key  /")}
          {field("step", "Step of the error", "step")}
          {field("error", "Text of the error", "error contains")}
          <label class="check">
            <input type="checkbox" checked={param("within") === "1"} onChange={(e) => set({ within: e.currentTarget.checked ? "1" : undefined })} />
            started in the {rangeText(range.value)}
          </label>
        </div>
      }
    >
      {picked.size > 0 && (
        <div class="picked" role="group" aria-label="What is selected">
          <b>{picked.size} selected</b>
          {(["retry", "skip", "cancel"] as const).map((a) => (
            <button key={a} type="button" class={a === "cancel" ? "danger" : ""} onClick={() => setDoing(a)}>
              {verbs[a]}
            </button>
          ))}
          <button type="button" class="quiet" onClick={() => setPicked(new Set())}>
            Select none
          </button>
        </div>
      )}
      <Answer of={first} rows={6}>
        {() =>
          rows.length === 0 ? (
            <Empty title={f.saga || f.state.length || f.key || f.step || f.error || f.since ? "No instance fits" : "No saga has been started yet"}>
              {f.saga || f.state.length || f.key || f.step || f.error || f.since ? (
                <a href={href("/sagas")}>Show all</a>
              ) : (
                <>
                  A service starts one by a request to its <code>SAGAS_URL</code>, and you by <code>atoll saga start</code> or “Start one” above.
                </>
              )}
            </Empty>
          ) : (
            <>
              <Table label="Instances" rows={rows} id={(r) => r.id} link={(r) => href("/saga/" + r.id)} cols={cols(picked, setPicked, open)} />
              {(next || older?.loading || (f.saga && open.length > 0 && picked.size === 0)) && (
                <div class="more-row">
                  {next && (
                    <button type="button" disabled={older?.loading} onClick={more}>
                      Older ones
                    </button>
                  )}
                  {f.saga && open.length > 0 && picked.size === 0 && <Many filter={f} onDone={() => setAt(at + 1)} />}
                </div>
              )}
              {older?.error && <Failed error={older.error} again={more} />}
            </>
          )
        }
      </Answer>
      {doing && (
        <Picked
          action={doing}
          rows={rows.filter((r) => picked.has(r.id))}
          onClose={(done) => {
            setDoing("");
            if (done) setPicked(new Set());
          }}
        />
      )}
    </Card>
  );
}

const verbs = { retry: "Retry", skip: "Skip the step", cancel: "Cancel" };

const means = {
  retry: "Makes another attempt, by the same idempotency key, at the step that is parked or waits. A service that keeps its answers gives the same answer to the same key again.",
  skip: "Takes the parked step as done, with null as its output, or as undone where the saga is being compensated. The pivot cannot be passed over.",
  cancel: "Undoes what the instance has done, in reverse. From its pivot on that is not possible any more; only a pivot that is parked can still be cancelled, by which you say that it was not taken.",
};

function cols(picked: Set<string>, setPicked: Dispatch<StateUpdater<Set<string>>>, open: SagaInstance[]): Col<SagaInstance>[] {
  const toggle = (ids: string[], on: boolean) => setPicked((was) => picking(was, ids, on));
  return [
    {
      key: "pick",
      head: <input type="checkbox" aria-label="Select all that have not ended" disabled={open.length === 0} checked={open.length > 0 && open.every((r) => picked.has(r.id))} onChange={(e) => toggle(open.map((r) => r.id), e.currentTarget.checked)} />,
      cell: (r) => <input type="checkbox" aria-label={`Select ${r.id}`} disabled={r.state === "completed" || r.state === "compensated"} checked={picked.has(r.id)} onChange={(e) => toggle([r.id], e.currentTarget.checked)} />,
    },
    { key: "state", head: "State", cell: (r) => <State of={r.state} /> },
    {
      key: "id",
      head: "Instance",
      cell: (r) => (
        <div class="sagas-name">
          <span>
            {r.saga}
            {r.parent && <span class="tag">child</span>}
          </span>
          <a class="mono" href={href("/saga/" + r.id)}>
            {r.id}
          </a>
        </div>
      ),
    },
    { key: "key", head: "Key", min: "m", cell: (r) => <span class="mono sagas-key cut" title={r.key}>{r.key ?? "–"}</span> },
    {
      key: "error",
      head: "Error",
      min: "s",
      cell: (r) =>
        r.error ? (
          <div class="two-lines" title={r.error.text}>
            {r.error.step && <b>{r.error.step}: </b>}
            {r.error.text}
          </div>
        ) : (
          <span class="muted">–</span>
        ),
    },
    { key: "started", head: "Started", num: true, cell: (r) => <Time at={r.started} relative /> },
    { key: "took", head: "Took", num: true, min: "m", cell: (r) => (r.ended ? duration((+new Date(r.ended) - +new Date(r.started)) * 1e6) : <span class="muted">–</span>) },
  ];
}

/** Picked does one thing with each that is selected. */
function Picked({ action, rows, onClose }: { action: "retry" | "skip" | "cancel"; rows: SagaInstance[]; onClose: (done: boolean) => void }) {
  const [failed, setFailed] = useState<{ id: string; text: string }[]>();
  if (failed) {
    return (
      <Dialog title="Not all of it was done" onClose={() => onClose(true)}>
        <ul class="sagas-failed">
          {failed.map((f) => (
            <li key={f.id}>
              <a class="mono" href={href("/saga/" + f.id)}>
                {f.id}
              </a>{" "}
              {f.text}
            </li>
          ))}
        </ul>
      </Dialog>
    );
  }
  return (
    <Confirm
      title={`${verbs[action]}: ${plural(rows.length, "instance")}`}
      verb={verbs[action]}
      danger={action === "cancel"}
      reason={action === "skip" ? "wanted" : "optional"}
      onClose={() => onClose(false)}
      does={async (reason) => {
        const bad: { id: string; text: string }[] = [];
        for (const r of rows) {
          try {
            await post(`/v1/saga-instances/${r.id}/actions`, { action, by: operator.value, reason });
          } catch (e) {
            bad.push({ id: r.id, text: e instanceof Problem ? `${sentence(e.detail)}. ${sentence(e.remedy)}` : String(e) });
          }
        }
        notify(`${verbs[action]}: done with ${rows.length - bad.length} of ${plural(rows.length, "instance")}`, undefined, bad.length > 0);
        if (bad.length === 0) return onClose(true);
        setFailed(bad);
        // The list of what failed is in the place of the question.
        throw new Problem("some-failed", "Not all of it was done.", "", 0);
      }}
    >
      <p>{means[action]}</p>
      <p class="muted">{rows.slice(0, 5).map((r) => r.key ?? r.id).join(", ")}{rows.length > 5 ? ` and ${rows.length - 5} more` : ""}</p>
    </Confirm>
  );
}

/** Many does one thing with all that the filter finds, after it has said how many these are. */
function Many({ filter: f, onDone }: { filter: ReturnType<typeof filter>; onDone: () => void }) {
  const [action, setAction] = useState<"" | "retry" | "skip" | "cancel">("");
  const [found, setFound] = useState<SagaActed>();
  const [failed, setFailed] = useState<Problem>();
  const ends = new Set(["completed", "compensated"]);
  const fits: Record<string, string[]> = { retry: ["parked", "running", "compensating"], skip: ["parked"], cancel: ["running", "parked"] };
  const select = (a: string) => ({
    saga: f.saga,
    states: f.state.length ? f.state.filter((s) => !ends.has(s)) : fits[a],
    key: f.key || undefined,
    step: f.step || undefined,
    error: f.error || undefined,
    since: f.since || undefined,
    until: f.until || undefined,
  });
  const ask = async (a: "retry" | "skip" | "cancel") => {
    setAction(a);
    setFound(undefined);
    setFailed(undefined);
    try {
      setFound(await post<SagaActed>("/v1/saga-actions", { action: a, select: select(a), dry_run: true, by: operator.value }));
    } catch (e) {
      setFailed(e as Problem);
    }
  };
  const close = () => setAction("");
  return (
    <>
      <span class="muted">all that fit:</span>
      {(["retry", "skip", "cancel"] as const).map((a) => (
        <button key={a} type="button" class="quiet" onClick={() => ask(a)}>
          {verbs[a]}
        </button>
      ))}
      {action && (found || failed) && (
        <Confirm
          title={`${verbs[action]}: all of ${f.saga} that fit`}
          verb={found ? `${verbs[action]}: ${plural(found.found, "instance")}` : verbs[action]}
          danger={action === "cancel"}
          reason={action === "skip" ? "wanted" : "optional"}
          ready={!!found && found.found > 0}
          onClose={close}
          does={async (reason) => {
            const done = await post<SagaActed>("/v1/saga-actions", { action, select: select(action), by: operator.value, reason });
            const text = `${verbs[action as "retry"]}: done with ${done.done} of ${plural(done.found, "instance")}${done.more ? "; there are more: do it again" : ""}`;
            notify(text, done.failed?.[0] && `${done.failed[0].id}: ${done.failed[0].fault.text}`, !!done.failed?.length);
            onDone();
          }}
        >
          {failed && <Failed error={failed} />}
          {found && (
            <p>
              <b>{plural(found.found, "instance")}</b> of {f.saga} {found.found === 1 ? "fits" : "fit"} ({select(action).states!.join(", ")}
              {f.step && `, step ${f.step}`}
              {f.error && `, error contains “${f.error}”`}
              {f.key && `, key ${f.key}`}).
            </p>
          )}
          <p class="muted">{means[action]}</p>
        </Confirm>
      )}
    </>
  );
}

/** Start begins an instance with an input; what the definition asks of it is beside. */
function Start({ saga, onClose }: { saga: string; onClose: () => void }) {
  const known = useAsk<Saga>("/v1/sagas/" + encodeURIComponent(saga));
  const schema = (known.data?.definition as { input?: unknown } | undefined)?.input;
  const [text, setText] = useState<string>();
  const [key, setKey] = useState("");
  const shown = text ?? (schema ? JSON.stringify(example(schema as Schema), null, 2) : "{}");
  const read = json(shown);
  return (
    <Confirm
      title={`Start ${saga}`}
      verb="Start"
      ready={!read.wrong}
      onClose={onClose}
      does={async () => {
        const d = await post<SagaDetail>(`/v1/sagas/${encodeURIComponent(saga)}/instances`, { input: read.value, key: key || undefined, by: operator.value });
        notify(`${d.id} of ${saga} is ${d.state}`);
        go(href("/saga/" + d.id));
      }}
    >
      <p class="muted">It begins at once, and calls the services for real.</p>
      {known.loading && !known.data ? (
        <Loading rows={3} />
      ) : (
        <label class="field">
          Input, JSON
          <textarea rows={10} spellcheck={false} value={shown} aria-invalid={!!read.wrong} onInput={(e) => setText(e.currentTarget.value)} />
        </label>
      )}
      {read.wrong && text !== undefined && <p class="bad-text">{read.wrong}</p>}
      <label class="field">
        Idempotency key (may be empty{known.data?.key ? `: then it is ${known.data.key}` : ""})
        <input value={key} onInput={(e) => setKey(e.currentTarget.value)} />
      </label>
      {schema !== undefined && (
        <details>
          <summary>What the definition asks of it</summary>
          <pre>{JSON.stringify(schema, null, 2)}</pre>
        </details>
      )}
    </Confirm>
  );
}

interface Schema {
  type?: string | string[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  enum?: unknown[];
  default?: unknown;
  minimum?: number;
  minItems?: number;
}

/** example is the least that a schema may take, to be filled in. */
function example(s: Schema, depth = 0): unknown {
  if (s.default !== undefined) return s.default;
  if (s.enum?.length) return s.enum[0];
  switch (Array.isArray(s.type) ? s.type[0] : s.type) {
    case "object":
      return Object.fromEntries((s.required ?? Object.keys(s.properties ?? {})).map((k) => [k, depth < 6 ? example(s.properties?.[k] ?? {}, depth + 1) : null]));
    case "array":
      return s.minItems && s.items && depth < 6 ? [example(s.items, depth + 1)] : [];
    case "integer":
    case "number":
      return s.minimum ?? 0;
    case "boolean":
      return false;
    case "string":
      return "";
    default:
      return null;
  }
}
