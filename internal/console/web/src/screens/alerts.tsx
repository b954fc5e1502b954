// Alerts: what is wrong, the rules, who is told, what was, and silences.
import { useState } from "preact/hooks";
import { del, post } from "../api";
import { useLive } from "../live";
import { operator } from "../operator";
import { clock, count, plural, spanText } from "../time";
import { href, param, set } from "../url";
import { Answer, Card, Dialog, Empty, Mark, Page, Service, Tabs, Time, type Tone } from "../ui/basic";
import { notify } from "../ui/notices";
import { Table } from "../ui/table";
import type { Alert, AlertChange, AlertRule, Alerts as AlertsShape, AlertTest, Silence } from "../types";
import { quoted } from "../pretty";
import { Confirm } from "../ui/confirm";
import "./alerts.css";

type Tab = "now" | "rules" | "silences" | "history" | "receivers";

export default function Alerts() {
  const live = useLive<AlertsShape>("1s /v1/alerts");
  const silences = useLive<{ silences: Silence[] | null }>("2s /v1/silences");
  const tab = (["now", "rules", "silences", "history", "receivers"] as Tab[]).find((t) => t === param("tab")) ?? "now";
  const [silence, setSilence] = useState<string[]>();
  const d = live.data;
  const firing = d?.alerts.filter((a) => a.state === "firing").length ?? 0;
  const pending = d?.alerts.filter((a) => a.state === "pending").length ?? 0;
  const broken = d?.rules.filter((r) => r.error).length ?? 0;
  const deaf = d?.receivers.filter((r) => r.error).length ?? 0;
  const active = silences.data?.silences?.filter((s) => s.state === "active").length ?? 0;
  const n = (x: number, bad = false) => (x ? <span class={`badge ${bad ? "bad" : ""}`}>{count(x)}</span> : null);
  const tabs = [
    ["now", <>Now {n(firing + pending, firing > 0)}</>],
    ["rules", <>Rules {n(broken, true)}</>],
    ["silences", <>Silences {n(active)}</>],
    ["history", "History"],
    ["receivers", <>Receivers {n(deaf, true)}</>],
  ] as const;
  return (
    <Page
      title="Alerts"
      sub={d && (firing ? `${firing} firing${pending ? `, ${pending} pending` : ""}` : pending ? `${pending} pending, none firing` : `Nothing is wrong by ${plural(d.rules.length, "rule")}`)}
      actions={
        <button type="button" onClick={() => setSilence([])}>
          Silence
        </button>
      }
    >
      <Tabs label="What of the alerts" tabs={tabs} now={tab} onPick={(t) => set({ tab: t === "now" ? undefined : t, rule: undefined })} />
      <div role="tabpanel" aria-label={tab} class="alerts-panel">
        {tab === "now" && <Answer of={live}>{(d) => <Now d={d} silences={silences.data?.silences ?? []} onSilence={setSilence} />}</Answer>}
        {tab === "rules" && <Answer of={live}>{(d) => <Rules rules={d.rules} />}</Answer>}
        {tab === "silences" && <Answer of={silences}>{({ silences }) => <Silences list={silences ?? []} onMake={() => setSilence([])} />}</Answer>}
        {tab === "history" && <History />}
        {tab === "receivers" && <Answer of={live}>{(d) => <Receivers d={d} />}</Answer>}
      </div>
      {silence && <Quiet matchers={silence} alerts={d?.alerts ?? []} onClose={() => setSilence(undefined)} />}
    </Page>
  );
}

const toneOfAlert = (a: Alert): Tone => (a.state === "resolved" ? "ok" : a.silenced?.length ? "off" : a.state === "pending" ? "busy" : a.severity === "critical" ? "bad" : "warn");

/** own are the labels that the other parts of a line do not say. */
const own = (labels: Record<string, string>) => Object.entries(labels).filter(([k]) => !["alertname", "alert", "severity", "service"].includes(k));

const matchersOf = (a: Alert) => [`alert=${a.alert}`, ...Object.entries(a.labels).filter(([k]) => !["alertname", "alert", "severity"].includes(k)).map(([k, v]) => `${k}=${v}`)];

function Now({ d, silences, onSilence }: { d: AlertsShape; silences: Silence[]; onSilence: (m: string[]) => void }) {
  const current = d.alerts.filter((a) => a.state !== "resolved");
  const over = d.alerts.filter((a) => a.state === "resolved");
  return (
    <>
      {current.length === 0 ? (
        <Card>
          <Empty title="No alert is firing or pending">
            {plural(d.rules.length, "rule")} {d.rules.length === 1 ? "is" : "are"} asked again and again.{" "}
            {d.receivers.length === 0 ? (
              <>
                Nobody is told when one fires: name a receiver under <code>alerting:</code> in atoll.yaml.
              </>
            ) : (
              `${plural(d.receivers.length, "receiver")} ${d.receivers.length === 1 ? "is" : "are"} told when one fires.`
            )}
          </Empty>
        </Card>
      ) : (
        <ul class="alerts-list" aria-label="What is wrong">
          {current.map((a) => (
            <One key={a.fingerprint} a={a} rule={d.rules.find((r) => r.alert === a.alert)} silences={silences} onSilence={onSilence} />
          ))}
        </ul>
      )}
      {over.length > 0 && (
        <Card title="Over" flush>
          <Table
            name="over"
            label="Alerts that are over"
            rows={over}
            id={(a) => a.fingerprint + a.started}
            cols={[
              { key: "alert", head: "Alert", cell: (a) => <Mark tone="ok">{a.alert}</Mark> },
              { key: "about", head: "About", cell: (a) => (a.labels.service ? <Service name={a.labels.service} /> : own(a.labels).map(([k, v]) => `${k}=${v}`).join(" ")) },
              { key: "summary", head: "What", min: "m", cell: (a) => <div class="two-lines">{a.summary}</div> },
              { key: "ended", head: "Ended", num: true, cell: (a) => (a.ended ? <Time at={a.ended} relative /> : "–") },
              { key: "took", head: "Lasted", num: true, min: "s", cell: (a) => (a.ended ? spanText((+new Date(a.ended) - +new Date(a.started)) * 1e6) : "–") },
            ]}
          />
        </Card>
      )}
    </>
  );
}

function One({ a, rule, silences, onSilence }: { a: Alert; rule?: AlertRule; silences: Silence[]; onSilence: (m: string[]) => void }) {
  const quiet = silences.filter((s) => a.silenced?.includes(s.id));
  return (
    <li class={`card alerts-one ${toneOfAlert(a)}`}>
      <div class="alerts-head">
        <Mark tone={toneOfAlert(a)}>{a.state}</Mark>
        <h2>{a.alert}</h2>
        <span class="tag">{a.severity}</span>
        {a.labels.service && <Service name={a.labels.service} />}
        {own(a.labels).map(([k, v]) => (
          <span key={k} class="tag">
            {k}={v}
          </span>
        ))}
        {a.no_data_since && <Mark tone="warn" title="Its question has no answer any more; it keeps its state for now">no data</Mark>}
        <span class="grow" />
        <b class="alerts-value">{a.value_text}</b>
      </div>
      <p>{a.summary}</p>
      <div class="alerts-foot">
        <span class="muted">
          {a.state} since <Time at={a.since} /> (<Time at={a.since} relative />)
        </span>
        {quiet.map((s) => (
          <span key={s.id} class="muted">
            silenced by {s.by} until <Time at={s.until} />
          </span>
        ))}
        <span class="grow" />
        {about(a, rule).map(([name, to]) => (
          <a key={name} href={to}>
            {name}
          </a>
        ))}
        {!a.silenced?.length && (
          <button type="button" onClick={() => onSilence(matchersOf(a))}>
            Silence
          </button>
        )}
      </div>
    </li>
  );
}

/** about leads to what an alert is about. */
function about(a: Alert, rule?: AlertRule): [string, string][] {
  const links: [string, string][] = [];
  const { service, saga, messaging_consumer_group_name: sub } = a.labels;
  if (a.alert === "parked-sagas" && saga) links.push(["Parked instances", href("/sagas", { saga, state: "parked" })]);
  else if (saga) links.push(["Instances", href("/sagas", { saga })]);
  if (sub) links.push(a.alert === "dead-letters" ? ["Dead letters", href("/events", { tab: "dead", subscription: sub })] : ["Subscriptions", href("/events", { tab: "subscriptions" })]);
  if (service) {
    links.push(["Service", href("/service/" + encodeURIComponent(service))]);
    links.push(["Its errors", href("/logs", { q: "level >= warn", service })]);
    if (rule?.source !== "metrics" || /error|latency/.test(a.alert)) links.push(["Its traces", href("/traces", { q: `service = ${quoted(service)}` })]);
  }
  if (rule) links.push(...queryLink(rule));
  return links;
}

const queryLink = (r: AlertRule): [string, string][] => {
  if (!r.query) return [];
  if (r.source === "logs") return [["Query", href("/logs", { q: r.query })]];
  if (r.source === "spans") return [["Query", href("/traces", { q: r.query })]];
  return r.source === "metrics" ? [["Metric", href("/metrics", { e: r.query })]] : [];
};

const limit = (r: AlertRule) => (r.unit === "share" ? `${((r.threshold ?? 0) * 100).toPrecision(3).replace(/\.?0+$/, "")} %` : `${r.threshold ?? 0}${r.unit === "seconds" ? " s" : ""}`);

const short = (span?: string) => (span ?? "").replace(/(\D)0s$/, "$1").replace(/(\D)0m$/, "$1");

function Rules({ rules }: { rules: AlertRule[] }) {
  const chosen = param("rule");
  const rule = rules.find((r) => r.alert === chosen);
  return (
    <Card flush>
      <Table
        name="rules"
        label="Rules"
        rows={rules}
        id={(r) => r.alert}
        cols={[
          {
            key: "rule",
            head: "Rule",
            sort: (r) => r.alert,
            cell: (r) => (
              <div class="alerts-rule">
                <button type="button" class="alerts-open" onClick={() => set({ rule: r.alert })}>
                  {r.alert}
                </button>
                <small class="muted">{r.slo ? `${r.slo.service}: ${(r.slo.objective * 100).toFixed(2).replace(/\.?0+$/, "")} % good${r.slo.latency ? ` within ${r.slo.latency}` : ""} over ${short(r.slo.window)}` : `${r.compare} ${limit(r)}${r.for ? ` for ${short(r.for)}` : ""}${r.within ? ` within ${short(r.within)}` : ""}`}</small>
              </div>
            ),
          },
          { key: "state", head: "State", cell: (r) => (r.error ? <Mark tone="bad" title={r.error}>not answered</Mark> : r.firing ? <Mark tone={r.severity === "warning" ? "warn" : "bad"}>{r.firing} firing</Mark> : r.pending ? <Mark tone="busy">{r.pending} pending</Mark> : r.asked ? <Mark tone="ok">fine</Mark> : <Mark tone="busy">not asked yet</Mark>) },
          { key: "sev", head: "Severity", min: "s", sort: (r) => r.severity ?? "", cell: (r) => r.severity ?? "–" },
          { key: "source", head: "Asks", min: "s", cell: (r) => r.source },
          { key: "own", head: "Written", min: "m", cell: (r) => (r.default ? <span class="muted">default</span> : "in atoll.yaml") },
          { key: "query", head: "Question", min: "m", cell: (r) => (r.query ? <code class="alerts-query" title={r.query}>{r.query}</code> : "–") },
          { key: "asked", head: "Asked", num: true, min: "m", cell: (r) => (r.asked ? <span title={`took ${r.took_ms.toFixed(1)} ms`}><Time at={r.asked} relative /></span> : "–") },
        ]}
      />
      {rule && <Rule r={rule} onClose={() => set({ rule: undefined })} />}
    </Card>
  );
}

/** Rule is one rule, and what its question answers just now. */
function Rule({ r, onClose }: { r: AlertRule; onClose: () => void }) {
  const [test, setTest] = useState<{ data?: AlertTest; error?: never }>();
  const [failed, setFailed] = useState<Error>();
  const [busy, setBusy] = useState(false);
  const ask = async () => {
    setBusy(true);
    setFailed(undefined);
    try {
      setTest({ data: await post<AlertTest>(`/v1/alerts/${encodeURIComponent(r.alert)}/test`) });
    } catch (e) {
      setFailed(e as Error);
    }
    setBusy(false);
  };
  return (
    <Dialog title={r.alert} onClose={onClose} wide>
      <dl class="facts">
        <dt>Is wrong</dt>
        <dd>
          {r.slo ? `when the budget of ${r.slo.service} burns too fast` : `${r.compare ?? ""} ${limit(r)}`}
          {r.for && `, for ${short(r.for)}`}
          {r.within && `, within ${short(r.within)}`}
        </dd>
        <dt>Severity</dt>
        <dd>{r.severity ?? "by how fast the budget burns"}</dd>
        <dt>Written</dt>
        <dd>{r.default ? "by Atoll; a rule of the same name in atoll.yaml takes its place" : "in atoll.yaml"}</dd>
        {r.error && <dt>Error</dt>}
        {r.error && (
          <dd class="bad-text">
            {r.error}
            {r.error_since && (
              <>
                , since <Time at={r.error_since} />
              </>
            )}
          </dd>
        )}
        {r.dropped ? <dt>Dropped</dt> : null}
        {r.dropped ? <dd class="warn-text">{plural(r.dropped, "alert")} did not fit: let the question answer with fewer sets of labels</dd> : null}
      </dl>
      {r.query && <pre>{r.query}</pre>}
      <div class="actions">
        <button type="button" class="primary" disabled={busy} onClick={ask}>
          {busy ? "Asking" : "Test it now"}
        </button>
        {queryLink(r).map(([, to]) => (
          <a key={to} href={to}>
            Look closer →
          </a>
        ))}
      </div>
      {(test || failed) && (
        <Answer of={{ data: failed ? undefined : test?.data, error: failed as never, again: ask }}>
          {(t) =>
            t.results.length === 0 ? (
              <Mark tone="ok">It answers with nothing: so nothing is wrong</Mark>
            ) : (
              <Table
                name="test"
                label="What it answers just now"
                rows={t.results.map((x, i) => ({ ...x, i }))}
                id={(x) => String(x.i)}
                cols={[
                  { key: "wrong", head: "State", cell: (x) => (x.wrong ? <Mark tone="bad">wrong</Mark> : <Mark tone="ok">fine</Mark>) },
                  { key: "value", head: "Value", num: true, cell: (x) => x.value_text },
                  { key: "labels", head: "Of", cell: (x) => Object.entries(x.labels).filter(([k]) => !["alertname", "alert", "severity"].includes(k)).map(([k, v]) => `${k}=${v}`).join(" ") || "all" },
                  { key: "summary", head: "It would say", min: "s", cell: (x) => <span class={x.wrong ? "" : "muted"}>{x.summary}</span> },
                ]}
              />
            )
          }
        </Answer>
      )}
    </Dialog>
  );
}

function Receivers({ d }: { d: AlertsShape }) {
  if (d.receivers.length === 0) {
    return (
      <Card>
        <Empty title="Nobody is told">
          Alerts are shown here, and nowhere else. Add <code>{"alerting: {notify: [{webhook: https://hooks.example/alerts}]}"}</code> to atoll.yaml, or slack or email in the place of webhook.
        </Empty>
      </Card>
    );
  }
  return (
    <Card flush>
      <Table
        name="receivers"
        label="Receivers"
        rows={d.receivers}
        id={(r) => r.name}
        cols={[
          { key: "name", head: "Receiver", sort: (r) => r.name, cell: (r) => <b>{r.name}</b> },
          { key: "state", head: "State", cell: (r) => (r.error ? <Mark tone="bad">{plural(r.fails, "failure")} in a row</Mark> : <Mark tone="ok">ok</Mark>) },
          { key: "sev", head: "Told of", cell: (r) => (r.severity ? `${r.severity} alone` : "all") },
          { key: "groups", head: "Groups", num: true, min: "s", cell: (r) => r.groups },
          { key: "since", head: "Since", num: true, cell: (r) => (r.since ? <span title={r.error ? "since it fails" : "when it was told last"}><Time at={r.since} relative /></span> : "–") },
          { key: "error", head: "Error", cell: (r) => (r.error ? <div class="two-lines bad-text" title={r.error}>{r.error}</div> : <span class="muted">–</span>) },
          { key: "next", head: "Tried again", num: true, min: "s", cell: (r) => (r.next ? <Time at={r.next} /> : "–") },
        ]}
      />
    </Card>
  );
}

const changeTone: Record<string, Tone> = { firing: "bad", resolved: "ok", "rule-failing": "warn", "tell-failing": "warn", silenced: "off" };

function History() {
  const list = useLive<{ changes: AlertChange[] | null }>("2s /v1/alerts/history?limit=500");
  return (
    <Card flush>
      <Answer of={list}>
        {({ changes }) =>
          !changes?.length ? (
            <Empty title="Nothing has changed yet">When an alert fires or is over, when a question cannot be answered, and when somebody silences, it is written here.</Empty>
          ) : (
            <Table
              name="history"
              label="History, the newest first"
              rows={changes.map((c, i) => ({ c, i }))}
              id={({ c, i }) => c.at + i}
              cols={[
                { key: "at", head: "Time", cell: ({ c }) => <Time at={c.at} /> },
                { key: "kind", head: "What", cell: ({ c }) => <Mark tone={changeTone[c.kind] ?? "off"}>{c.kind.replace(/-/g, " ")}</Mark> },
                { key: "alert", head: "Alert", cell: ({ c }) => c.alert ?? c.subject ?? "–" },
                { key: "about", head: "About", min: "s", cell: ({ c }) => (c.labels?.service ? <Service name={c.labels.service} /> : own(c.labels ?? {}).map(([k, v]) => `${k}=${v}`).join(" ") || "–") },
                { key: "value", head: "Value", num: true, min: "s", cell: ({ c }) => c.value_text ?? "" },
                { key: "summary", head: "It says", min: "m", cell: ({ c }) => <div class="two-lines">{[c.summary, c.reason && c.reason !== "wrong" && c.reason !== "fine" ? c.reason : "", c.by && `by ${c.by}`].filter(Boolean).join(", ")}</div> },
              ]}
            />
          )
        }
      </Answer>
    </Card>
  );
}

function Silences({ list, onMake }: { list: Silence[]; onMake: () => void }) {
  const [end, setEnd] = useState<Silence>();
  if (list.length === 0) {
    return (
      <Card>
        <Empty title="There are no silences">
          A silence keeps alerts from being told of for a while; they are shown all the same.{" "}
          <button type="button" onClick={onMake}>
            Make one
          </button>
        </Empty>
      </Card>
    );
  }
  return (
    <Card flush>
      <Table
        name="silences"
        label="Silences"
        rows={list}
        id={(s) => s.id}
        cols={[
          { key: "state", head: "State", cell: (s) => <Mark tone={s.state === "active" ? "busy" : "off"}>{s.state}</Mark> },
          { key: "what", head: "Silences", cell: (s) => <span class="alerts-matchers">{s.matchers.map((m) => <code key={m} class="tag">{m}</code>)}</span> },
          { key: "until", head: "Until", num: true, cell: (s) => <Time at={s.until} /> },
          { key: "by", head: "By", min: "s", cell: (s) => s.by },
          { key: "comment", head: "Why", min: "m", cell: (s) => <div class="two-lines">{s.comment ?? ""}</div> },
          { key: "end", head: "Act", num: true, cell: (s) => (s.state === "active" ? <button type="button" class="quiet" aria-label={`End the silence of ${s.matchers.join(" ")}`} onClick={() => setEnd(s)}>End</button> : null) },
        ]}
      />
      {end && (
        <Confirm
          title="End the silence"
          verb="End it"
          onClose={() => setEnd(undefined)}
          does={async () => {
            await del("/v1/silences/" + encodeURIComponent(end.id));
            notify("The silence is over");
          }}
        >
          <p>
            What fires and fits {end.matchers.join(", ")} is told of again from now on.
          </p>
        </Confirm>
      )}
    </Card>
  );
}

/** fits says whether an alert is one that a matcher means; undefined where the form cannot be read here. */
function fits(matcher: string, a: Alert): boolean | undefined {
  const m = /^([^=!~]+)(=~|!~|!=|=)(.*)$/.exec(matcher);
  if (!m) return undefined;
  const [, label = "", op, want = ""] = m;
  const has = (label === "alert" ? a.alert : label === "severity" ? a.severity : a.labels[label]) ?? "";
  if (op === "=") return has === want;
  if (op === "!=") return has !== want;
  try {
    return new RegExp(`^(?:${want})$`).test(has) === (op === "=~");
  } catch {
    return undefined;
  }
}

function Quiet({ matchers, alerts, onClose }: { matchers: string[]; alerts: Alert[]; onClose: () => void }) {
  const [text, setText] = useState(matchers.join("\n"));
  const [lasts, setLasts] = useState("2h");
  const list = text.split("\n").map((l) => l.trim()).filter((l) => l);
  const hit = alerts.filter((a) => a.state !== "resolved" && list.length > 0 && list.every((m) => fits(m, a)));
  return (
    <Confirm
      title="Silence alerts"
      verb="Silence"
      reason="optional"
      ready={list.length > 0 && /^(\d+(\.\d+)?(ms|s|m|h))+$/.test(lasts)}
      onClose={onClose}
      does={async (comment) => {
        const s = await post<Silence>("/v1/silences", { matchers: list, for: lasts, by: operator.value, comment: comment || undefined });
        notify("Silenced", `until ${clock(new Date(s.until))}`);
        set({ tab: "silences" });
      }}
    >
      <p class="muted">Alerts that fit every line are shown all the same, but nobody is told of them.</p>
      <label class="field">
        Labels, one a line
        <textarea class="alerts-lines" rows={4} spellcheck={false} value={text} placeholder={"alert=latency\nservice=orders"} onInput={(e) => setText(e.currentTarget.value)} />
      </label>
      <div class="alerts-for">
        <label class="field">
          For
          <input value={lasts} onInput={(e) => setLasts(e.currentTarget.value.trim())} />
        </label>
        <div class="seg" role="group" aria-label="For how long">
          {["30m", "2h", "8h", "24h"].map((f) => (
            <button key={f} type="button" aria-pressed={lasts === f} onClick={() => setLasts(f)}>
              {f}
            </button>
          ))}
        </div>
      </div>
      <p role="status">{list.length === 0 ? "Write LABEL=VALUE, LABEL!=VALUE, LABEL=~FORM or LABEL!~FORM." : hit.length ? `It silences now: ${hit.map((a) => a.alert + (a.labels.service ? ` of ${a.labels.service}` : "")).join(", ")}.` : "Nothing that is wrong now fits; what comes and fits is silenced."}</p>
    </Confirm>
  );
}
