// What an operator does with an instance, with what will happen by it.
import { useState } from "preact/hooks";
import { post } from "../api";
import { operator } from "../operator";
import { notify } from "../ui/notices";
import type { SagaDetail, SagaMigrated, SagaRequest, SagaTask } from "../types";
import { Confirm, json } from "../ui/confirm";

type Action = "retry" | "skip" | "override" | "replace" | "cancel" | "migrate";

const names: Record<Action, string> = { retry: "Retry", skip: "Skip", override: "Override", replace: "Call another", cancel: "Cancel", migrate: "Migrate" };

/** tasksOf are the tasks that are parked, or wait for their next attempt. */
function tasksOf(d: SagaDetail, waits: boolean): { step: string; pivot: boolean; task: SagaTask }[] {
  return d.steps.flatMap((s) => (s.tasks ?? []).filter((t) => t.state === "parked" || (waits && !!t.due && (t.state === "calling" || t.state === "undoing" || t.state === "revoking"))).map((task) => ({ step: s.step, pivot: s.role === "pivot", task })));
}

/** Actions are the buttons for what can be done now. */
export function Actions({ d }: { d: SagaDetail }) {
  const [doing, setDoing] = useState<Action | "">("");
  const parked = tasksOf(d, false);
  const over = d.state === "completed" || d.state === "compensated";
  const pivot = d.steps.find((s) => s.role === "pivot");
  const passed = pivot && (pivot.state === "done" || pivot.state === "skipped");
  if (over) return null;
  const can: [Action, boolean, string][] = [
    ["retry", tasksOf(d, true).length > 0, "No step is parked or waits for its next attempt"],
    ["skip", parked.some((t) => !t.pivot), "Only a parked step can be skipped, and never the pivot"],
    ["override", parked.length > 0 && !d.compensating, "Only a parked step can be overridden"],
    ["replace", parked.length > 0, "Only a parked step can be called in another way"],
    ["cancel", !d.compensating && !passed, passed ? `The pivot (${pivot!.step}) is done: there is no way back` : "It is being undone already"],
  ];
  return (
    <>
      {can.map(([a, yes, why]) => (
        <button key={a} type="button" class={a === "cancel" ? "danger" : a === "retry" && d.state === "parked" ? "primary" : ""} disabled={!yes} title={yes ? undefined : why} onClick={() => setDoing(a)}>
          {names[a]}
        </button>
      ))}
      {d.newer_version && (
        <button type="button" onClick={() => setDoing("migrate")}>
          Migrate
        </button>
      )}
      {doing === "migrate" ? <Migrate d={d} onClose={() => setDoing("")} /> : doing && <Act d={d} action={doing} onClose={() => setDoing("")} />}
    </>
  );
}

function Act({ d, action, onClose }: { d: SagaDetail; action: Exclude<Action, "migrate">; onClose: () => void }) {
  const tasks = action === "cancel" ? [] : tasksOf(d, action === "retry").filter((t) => action !== "skip" || !t.pivot);
  const [task, setTask] = useState(tasks[0]?.task.task ?? "");
  const now = tasks.find((t) => t.task.task === task);
  const made = now?.task.request;
  const [output, setOutput] = useState("null");
  const [method, setMethod] = useState(made?.method ?? "POST");
  const [service, setService] = useState(made?.service ?? "");
  const [path, setPath] = useState(made?.path ?? "");
  const [body, setBody] = useState(made?.body === undefined ? "" : JSON.stringify(made.body, null, 2));
  const [headers, setHeaders] = useState("");
  const read = action === "override" ? json(output) : action === "replace" && body.trim() ? json(body) : {};
  const lines = headers.split("\n").filter((l) => l.trim());
  const badHeader = action === "replace" && lines.some((l) => !/^[^:\s]+\s*:/.test(l));
  const pick = (name: string) => {
    setTask(name);
    const r = tasks.find((t) => t.task.task === name)?.task.request;
    if (!r) return;
    setMethod(r.method);
    setService(r.service);
    setPath(r.path);
    setBody(r.body === undefined ? "" : JSON.stringify(r.body, null, 2));
  };
  const request: SagaRequest = { service, method, path: path.startsWith("/") ? path : "/" + path };
  if (body.trim()) request.body = read.value;
  if (lines.length) request.headers = Object.fromEntries(lines.map((l) => [l.slice(0, l.indexOf(":")).trim(), l.slice(l.indexOf(":") + 1).trim()]));
  const title = { retry: "Try again", skip: "Pass over the step", override: "Take the step as done", replace: "Make another call", cancel: "Cancel the instance" }[action];
  return (
    <Confirm
      title={title}
      verb={names[action]}
      danger={action === "cancel"}
      reason={action === "cancel" || action === "retry" ? "optional" : "wanted"}
      ready={!read.wrong && !badHeader && (action !== "replace" || (!!service && !!path))}
      onClose={onClose}
      does={async (reason) => {
        const after = await post<SagaDetail>(`/v1/saga-instances/${d.id}/actions`, {
          action,
          step: task || undefined,
          by: operator.value,
          reason: reason || undefined,
          output: action === "override" ? read.value : undefined,
          request: action === "replace" ? request : undefined,
        });
        notify(`${d.id} ${done[action]}, and is ${after.state}`);
      }}
    >
      <p>{what(d, action, now)}</p>
      {tasks.length > 1 ? (
        <label class="field">
          Step
          <select value={task} onChange={(e) => pick(e.currentTarget.value)}>
            {tasks.map((t) => (
              <option key={t.task.task}>{t.task.task}</option>
            ))}
          </select>
        </label>
      ) : (
        now && (
          <dl class="facts">
            <dt>Step</dt>
            <dd>{now.task.task}</dd>
            {now.task.text && <dt>Parked by</dt>}
            {now.task.text && <dd>{now.task.text}</dd>}
            {made && action === "retry" && <dt>Call</dt>}
            {made && action === "retry" && (
              <dd class="mono">
                {made.method} {made.service}
                {made.path}
              </dd>
            )}
          </dl>
        )
      )}
      {action === "override" && (
        <label class="field">
          What the step has answered, JSON: later steps read it
          <textarea rows={5} spellcheck={false} value={output} aria-invalid={!!read.wrong} onInput={(e) => setOutput(e.currentTarget.value)} />
        </label>
      )}
      {action === "replace" && (
        <>
          <div class="saga-call">
            <label class="field">
              Method
              <select value={method} onChange={(e) => setMethod(e.currentTarget.value)}>
                {["POST", "PUT", "PATCH", "DELETE", "GET"].map((m) => (
                  <option key={m}>{m}</option>
                ))}
              </select>
            </label>
            <label class="field">
              Service
              <input value={service} required onInput={(e) => setService(e.currentTarget.value)} />
            </label>
            <label class="field">
              Path
              <input value={path} required onInput={(e) => setPath(e.currentTarget.value)} />
            </label>
          </div>
          <label class="field">
            Body, JSON (empty: none)
            <textarea rows={6} spellcheck={false} value={body} aria-invalid={!!read.wrong} onInput={(e) => setBody(e.currentTarget.value)} />
          </label>
          <label class="field">
            Further headers, one a line
            <textarea class="saga-headers" rows={2} spellcheck={false} value={headers} placeholder="X-Carrier: other" aria-invalid={badHeader} onInput={(e) => setHeaders(e.currentTarget.value)} />
          </label>
        </>
      )}
      {read.wrong && <p class="bad-text">This is no JSON: {read.wrong}</p>}
    </Confirm>
  );
}

const done = { retry: "tries again", skip: "goes on without the step", override: "goes on with the output", replace: "makes the other call", cancel: "is cancelled" };

/** what says what an action will do to this very instance. */
function what(d: SagaDetail, action: Exclude<Action, "migrate">, now?: { step: string; pivot: boolean; task: SagaTask }): string {
  const step = now?.task.task ?? "the step";
  switch (action) {
    case "retry":
      return `${step} is attempted again at once, by the same idempotency key. A service that keeps its answers gives the same refusal to the same key again; where it was refused, make another call.`;
    case "skip":
      return d.compensating ? `${step} is taken as undone. Nothing is called; the way back goes on.` : `${step} is taken as done, with null as its output. Nothing is called; the next steps run.`;
    case "override":
      return `${step} is taken as done, with the output below. Nothing is called; the next steps run.${now?.pivot ? " It is the pivot: you say that it was taken, and from here there is no way back." : ""}`;
    case "replace":
      return `The call below is made in the place of ${step}, by an idempotency key of its own. Its answer is taken as the step's.`;
    case "cancel": {
      const undo = d.steps.filter((s) => s.state === "done" && s.undo).map((s) => s.step).reverse();
      const pivot = now?.pivot || d.steps.some((s) => s.role === "pivot" && s.state === "parked");
      return `${undo.length ? `These are undone, in this order: ${undo.join(", ")}.` : "There is nothing to undo; the instance ends as compensated."}${pivot ? " The pivot is parked: by this you say that it was not taken." : ""}`;
    }
  }
}

function Migrate({ d, onClose }: { d: SagaDetail; onClose: () => void }) {
  return (
    <Confirm
      title="Make it one of the version in force"
      verb="Migrate"
      reason="wanted"
      onClose={onClose}
      does={async (reason) => {
        const m = await post<SagaMigrated>("/v1/saga-migrations", { id: d.id, by: operator.value, reason });
        const fault = m.instances[0]?.fault;
        notify(fault ? fault.text : `${d.id} is of version ${m.version} now`, fault?.remedy, !!fault);
      }}
    >
      <p>
        It runs version {d.version}; {d.newer_version} is in force. What it has done stays, and what is to come is as the new version has it. Where that makes no sense it is refused, and nothing changes.
      </p>
    </Confirm>
  );
}
