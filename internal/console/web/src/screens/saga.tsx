// One instance of a saga: its graph, its timeline, and what an operator can do.
import { useEffect, useState } from "preact/hooks";
import { lazy } from "../ui/lazy";
import { useLive } from "../live";
import { duration, plural, spanText } from "../time";
import { href, param, set } from "../url";
import { Answer, Card, Copy, Empty, Failed, Json, Mark, Page, Service, Time, type Tone } from "../ui/basic";
import { Table } from "../ui/table";
import type { SagaDetail, SagaRecord, SagaStepStatus, SagaTask } from "../types";
import { State, stepTone } from "./sagaparts";
import { Actions } from "./sagaact";
import "./saga.css";

const Graph = lazy(() => import("./sagagraph"));

export default function SagaScreen({ arg }: { arg: string }) {
  const live = useLive<SagaDetail>("1s /v1/saga-instances/" + encodeURIComponent(arg));
  const d = live.data;
  if (!d && live.error?.status === 404) {
    return (
      <Page title="Saga">
        <Card>
          <Empty title="There is no such instance">
            Instances that have ended are kept for the time that their definition says. <a href={href("/sagas")}>All instances</a>
          </Empty>
        </Card>
      </Page>
    );
  }
  return (
    <Page
      title={d ? d.saga : "Saga"}
      sub={
        <>
          <a class="saga-up" href={href("/sagas", d && { saga: d.saga })}>
            Sagas
          </a>{" "}
          / <span class="mono">{arg}</span> <Copy text={arg} />
        </>
      }
      actions={d && <Actions d={d} />}
    >
      <Answer of={live} rows={8}>
        {(d) => <Instance d={d} />}
      </Answer>
    </Page>
  );
}

function Instance({ d }: { d: SagaDetail }) {
  const chosen = param("step");
  const pick = (step: string) => set({ step: step === chosen ? undefined : step });
  const step = d.steps.find((s) => s.step === chosen);
  return (
    <>
      {d.state === "parked" && <Parked d={d} />}
      {d.state !== "parked" && d.error && (
        <p class="saga-error">
          <Mark tone={d.state === "compensated" ? "off" : "warn"}>{d.error.step ?? (d.compensating ? "goes back" : "error")}</Mark> {d.error.text}
        </p>
      )}
      <Facts d={d} />
      <Card title="Steps" flush>
        <Graph steps={d.steps} back={d.compensating} chosen={chosen} onPick={pick} />
        <details class="saga-table">
          <summary>As a table</summary>
          <Table
            name="steps"
            label="Steps"
            rows={d.steps}
            id={(s) => s.step}
            cols={[
              { key: "step", head: "Step", cell: (s) => <button type="button" class="quiet" aria-pressed={s.step === chosen} onClick={() => pick(s.step)}>{s.step}</button> },
              { key: "state", head: "State", cell: (s) => <Mark tone={stepTone[s.state] ?? "off"}>{s.state}</Mark> },
              { key: "role", head: "Role", cell: (s) => s.role },
              { key: "after", head: "After", cell: (s) => s.after?.join(", ") || "the start" },
              { key: "does", head: "Does", cell: (s) => <code>{s.does}</code> },
              { key: "undo", head: "Undo", cell: (s) => (s.undo ? <code>{s.undo}</code> : "–") },
            ]}
          />
        </details>
      </Card>
      {step && <Step s={step} onClose={() => set({ step: undefined })} />}
      <Timeline d={d} only={chosen} />
      <div class="grid">
        <Card title="Input" actions={<Copy text={JSON.stringify(d.input, null, 2)} />}>
          <Json value={d.input} />
        </Card>
        <Card title="Output" actions={d.output != null ? <Copy text={JSON.stringify(d.output, null, 2)} /> : undefined}>
          {d.output != null ? <Json value={d.output} /> : <p class="muted">{d.state === "completed" ? "It has none." : d.state === "compensated" ? "It was undone, so it has none." : "It has not ended."}</p>}
        </Card>
      </div>
      {(d.children ?? []).length > 0 && (
        <Card title="Children" flush>
          <Table
            name="children"
            label="Children"
            rows={d.children!}
            id={(c) => c.id}
            link={(c) => href("/saga/" + c.id)}
            cols={[
              { key: "state", head: "State", cell: (c) => <State of={c.state} /> },
              { key: "saga", head: "Saga", cell: (c) => c.saga },
              { key: "id", head: "Instance", cell: (c) => <a class="mono" href={href("/saga/" + c.id)}>{c.id}</a> },
              { key: "started", head: "Started", num: true, cell: (c) => <Time at={c.started} relative /> },
            ]}
          />
        </Card>
      )}
    </>
  );
}

/** Parked says what a person has to decide. */
function Parked({ d }: { d: SagaDetail }) {
  const pivot = d.steps.some((s) => s.role === "pivot" && s.state === "parked");
  return (
    <section class="card saga-parked" aria-label="What it waits for">
      <Mark tone="warn">parked</Mark>
      <div>
        <strong>
          {d.error?.step && `${d.error.step}: `}
          {d.error?.text ?? "It waits for a person."}
        </strong>
        <p class="muted">
          {pivot
            ? "It is the pivot, and nobody knows whether it was taken. Look at the service: if it was, override it with what it has answered; if not, retry or cancel."
            : "It does not go on by itself. Retry when the cause is gone; skip or override when the step was done by hand; call another service or path where it was refused."}
        </p>
      </div>
    </section>
  );
}

function Facts({ d }: { d: SagaDetail }) {
  const [, tick] = useState(0);
  const over = !!d.ended;
  useEffect(() => {
    if (over) return;
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [over]);
  const ms = +(d.ended ? new Date(d.ended) : new Date()) - +new Date(d.started);
  return (
    <dl class="card saga-facts">
      <div>
        <dt>State</dt>
        <dd>
          <State of={d.state} />
        </dd>
      </div>
      <div>
        <dt>Started</dt>
        <dd>
          <Time at={d.started} millis />
        </dd>
      </div>
      <div>
        <dt>{over ? "Took" : "Runs for"}</dt>
        <dd>{over ? duration(ms * 1e6) : spanText(ms * 1e6)}</dd>
      </div>
      {d.by && (
        <div>
          <dt>Started by</dt>
          <dd>{d.by.startsWith("service ") ? <Service name={d.by.slice(8)} /> : d.by}</dd>
        </div>
      )}
      {d.key && (
        <div>
          <dt>Key</dt>
          <dd class="mono">{d.key}</dd>
        </div>
      )}
      {d.lock && (
        <div>
          <dt>Lock</dt>
          <dd>
            <span class="mono">{d.lock}</span> <span class="muted">{d.locked ? "(held)" : over ? "(let go)" : "(waits for it)"}</span>
          </dd>
        </div>
      )}
      <div>
        <dt>Version</dt>
        <dd>
          <span class="mono">{d.version.slice(0, 12)}</span> {d.newer_version && <span class="warn-text">({d.newer_version.slice(0, 8)} is in force)</span>}
        </dd>
      </div>
      {d.deadline && !over && (
        <div>
          <dt>Deadline</dt>
          <dd>
            <Time at={d.deadline} />
          </dd>
        </div>
      )}
      {d.parent && (
        <div>
          <dt>Step of</dt>
          <dd>
            <a class="mono" href={href("/saga/" + d.parent)}>
              {d.parent}
            </a>
          </dd>
        </div>
      )}
      {d.trace_id && (
        <div>
          <dt>Trace</dt>
          <dd>
            <a href={href("/trace/" + d.trace_id)}>All its calls →</a>
          </dd>
        </div>
      )}
    </dl>
  );
}

function Step({ s, onClose }: { s: SagaStepStatus; onClose: () => void }) {
  return (
    <Card
      title={
        <>
          Step {s.step} <Mark tone={stepTone[s.state] ?? "off"}>{s.state}</Mark>
        </>
      }
      actions={
        <button type="button" class="quiet" aria-label="Close" onClick={onClose}>
          ✕
        </button>
      }
    >
      <dl class="facts">
        <dt>Does</dt>
        <dd class="mono">{s.does}</dd>
        {s.undo && <dt>Undo</dt>}
        {s.undo && <dd class="mono">{s.undo}</dd>}
        {s.when && <dt>When</dt>}
        {s.when && <dd class="mono">{s.when}</dd>}
        {s.each && <dt>For each of</dt>}
        {s.each && <dd class="mono">{s.each}</dd>}
        <dt>Role</dt>
        <dd>
          {s.role}
          {s.role === "pivot" ? ": from there on nothing is undone" : s.role === "retriable" ? ": tried until it succeeds" : ": undone if the saga is compensated"}
        </dd>
      </dl>
      {(s.tasks ?? []).map((t) => (
        <Task key={t.task} t={t} alone={s.tasks!.length === 1 && t.task === s.step} />
      ))}
      {s.output != null && (
        <>
          <h3 class="saga-h3">Output</h3>
          <Json value={s.output} />
        </>
      )}
    </Card>
  );
}

function Task({ t, alone }: { t: SagaTask; alone: boolean }) {
  return (
    <div class="saga-task">
      {!alone && (
        <p>
          <b>{t.task}</b> <Mark tone={stepTone[t.state] ?? "busy"}>{t.state}</Mark>
        </p>
      )}
      <p class="muted">
        {t.attempt ? plural(t.attempt, "attempt") : ""}
        {t.passed && " · a person has passed over it"}
        {t.topic && ` · waits for ${t.topic}${t.key ? ` with key ${t.key}` : ""}`}
        {t.due && (
          <>
            {" "}
            · goes on at <Time at={t.due} />
          </>
        )}
        {t.child && (
          <>
            {" "}
            · <a href={href("/saga/" + t.child)}>its child</a>
          </>
        )}
      </p>
      {t.text && <p class={t.state === "parked" || t.state === "failed" || t.state === "refused" ? "warn-text" : ""}>{t.text}</p>}
      {t.request && (
        <details>
          <summary>
            {t.state === "parked" ? "The call that would be made" : "Its call"}:{" "}
            <code>
              {t.request.method} {t.request.service}
              {t.request.path}
            </code>
          </summary>
          <Json value={t.request.body ?? null} />
        </details>
      )}
    </div>
  );
}

const kindTone: Record<string, Tone> = { done: "ok", completed: "ok", failed: "bad", refused: "bad", parked: "warn", interrupted: "warn", compensating: "warn", cancelled: "warn", revoked: "warn" };
const people = new Set(["cancelled", "retried", "overridden", "replaced", "passed-over", "migrated"]);
const words: Record<string, string> = { "passed-over": "passed over", waits: "waits", locked: "holds its lock", skipped: "not needed", child: "child started", compensating: "goes back" };

/** Timeline is the history: each attempt with its answer, and when it was. */
function Timeline({ d, only }: { d: SagaDetail; only: string }) {
  const rows = d.history.map((r, i) => ({ r, i })).filter(({ r }) => !only || !r.task || r.task === only || r.task.startsWith(only + "."));
  const a = +new Date(d.started);
  const b = Math.max(a + 1, ...d.history.map((r) => +new Date(r.at)));
  const place = (t: number) => Math.min(100, Math.max(0, ((t - a) / (b - a)) * 100));
  return (
    <Card title="Timeline" flush actions={only ? <span class="muted">what concerns {only}</span> : <span class="muted">{plural(d.history.length, "entry", "entries")}</span>}>
      {rows.length === 0 ? (
        <Failed error={new Error("Nothing is known of it.")} />
      ) : (
        <Table
          name="history"
          label="Timeline"
          rows={rows}
          id={({ i }) => String(i)}
          cols={[
            { key: "at", head: "Time", cell: ({ r }) => <Time at={r.at} millis /> },
            { key: "after", head: "After", num: true, min: "s", cell: ({ r }) => <span class="muted">{+new Date(r.at) - a < 1 ? "0" : duration((+new Date(r.at) - a) * 1e6)}</span> },
            {
              key: "what",
              head: "What",
              cell: ({ r }) => (
                <span class="saga-what">
                  <Mark tone={kindTone[r.kind] ?? "off"}>{words[r.kind] ?? r.kind}</Mark>
                  {people.has(r.kind) && <span class="tag">by a person</span>}
                </span>
              ),
            },
            { key: "task", head: "Step", cell: ({ r }) => (r.task ? <>{r.undo && <span title="its undo">↺ </span>}<b>{r.task}</b>{(r.attempt ?? 0) > 1 && <span class="muted"> attempt {r.attempt}</span>}</> : "") },
            { key: "status", head: "Answer", cell: ({ r }) => <Said r={r} /> },
            { key: "took", head: "Took", num: true, cell: ({ r }) => (r.took_ms ? duration(r.took_ms * 1e6) : "") },
            {
              key: "bar",
              head: <span class="saga-head">over time</span>,
              min: "m",
              cell: ({ r }) => {
                const end = +new Date(r.at);
                const left = place(end - (r.took_ms ?? 0));
                return (
                  <span class="saga-bar" aria-hidden="true">
                    <i class={kindTone[r.kind] ?? "off"} style={{ left: `min(${left}%, calc(100% - 3px))`, width: `${Math.max(0, place(end) - left)}%` }} />
                  </span>
                );
              },
            },
          ]}
        />
      )}
    </Card>
  );
}

function Said({ r }: { r: SagaRecord }) {
  return (
    <div class="saga-said">
      {r.status ? <b class={r.status >= 400 ? "bad-text" : ""}>{r.status} </b> : null}
      {r.text && <span>{r.text}</span>}
      {r.by && <span class="muted"> by {r.by}</span>}
      {r.replica && <span class="muted"> {r.replica}</span>}
      {r.data != null && (
        <details>
          <summary>data</summary>
          <Json value={r.data} />
        </details>
      )}
    </div>
  );
}
