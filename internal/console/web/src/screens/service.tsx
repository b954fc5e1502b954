import { useState } from "preact/hooks";
import { lazy } from "../ui/lazy";
import { post, q } from "../api";
import { useAsk, useLive } from "../live";
import { label } from "../ui/prom";
import { bytes, count, duration, plural, rate, spanText } from "../time";
import { href, param, set } from "../url";
import { Answer, Card, Dialog, Empty, Mark, Page, Service as Name, Tabs, Time, toneOf } from "../ui/basic";
import { act } from "../ui/notices";
import { Table } from "../ui/table";
import type { Bus, Replica, Service, Top } from "../types";
import "./service.css";

const Map = lazy(() => import("./map"));
const Contract = lazy(() => import("./contract"));
const LatencyHeat = lazy(async () => ({ default: (await import("../ui/latency")).LatencyHeat }));
const ServicePanels = lazy(async () => ({ default: (await import("./panels")).ServicePanels }));

type Tab = "overview" | "contract" | "events" | "environment";

export default function ServiceScreen({ arg: name }: { arg: string }) {
  const service = useLive<Service>("2s /v1/services/" + encodeURIComponent(name));
  const tab = param("tab", "overview") as Tab;
  return (
    <Page title={<Name name={name} link={false} />} sub={service.data && <Sub s={service.data} />} actions={service.data && <Actions s={service.data} />}>
      <Answer of={service} rows={8}>
        {(s) => (
          <>
            <Tabs<Tab>
              label="About the service"
              now={tab}
              onPick={(t) => set({ tab: t === "overview" ? undefined : t, op: undefined }, false)}
              tabs={[
                ["overview", "Overview"],
                ["contract", "Contract"],
                ["events", <>Events{s.publishes.length + Object.keys(s.subscribes).length > 0 && <span class="badge">{s.publishes.length + Object.keys(s.subscribes).length}</span>}</>],
                ["environment", "Environment"],
              ]}
            />
            {tab === "overview" && <Overview s={s} />}
            {tab === "contract" && <Contract service={s} />}
            {tab === "events" && <Events s={s} />}
            {tab === "environment" && <Environment s={s} />}
          </>
        )}
      </Answer>
    </Page>
  );
}

function Sub({ s }: { s: Service }) {
  return (
    <>
      {s.summary} {s.owner && <span class="tag">{s.owner}</span>}
    </>
  );
}

function Actions({ s }: { s: Service }) {
  const [scaling, setScaling] = useState(false);
  const [busy, setBusy] = useState(false);
  const path = "/v1/services/" + encodeURIComponent(s.service);
  const restart = async () => {
    setBusy(true);
    await act(post(path + "/restart"), `${s.service} has new replicas`);
    setBusy(false);
  };
  return (
    <>
      <a class="button" href={href("/logs", { q: `service = ${label(s.service)}` })}>
        Logs
      </a>
      <a class="button" href={href("/traces", { q: `service = ${label(s.service)}` })}>
        Traces
      </a>
      <a class="button" href={href("/metrics", { service: s.service })}>
        Metrics
      </a>
      <button type="button" disabled={busy} onClick={restart}>
        {busy ? "Restarting …" : "Restart"}
      </button>
      <button type="button" onClick={() => setScaling(true)}>
        Scale
      </button>
      {scaling && <Scale s={s} onClose={() => setScaling(false)} />}
    </>
  );
}

function Scale({ s, onClose }: { s: Service; onClose: () => void }) {
  const [n, setN] = useState(s.replicas);
  const [busy, setBusy] = useState(false);
  return (
    <Dialog title={`Scale ${s.service}`} onClose={onClose}>
      <form
        class="service-scale"
        onSubmit={async (e) => {
          e.preventDefault();
          setBusy(true);
          await act(post(`/v1/services/${encodeURIComponent(s.service)}/scale`, { replicas: n }), `${s.service} has ${plural(n, "replica")}`);
          onClose();
        }}
      >
        <label class="field">
          Replicas
          <input type="number" min={0} max={1000} value={n} autofocus onInput={(e) => setN(Math.max(0, Math.floor(e.currentTarget.valueAsNumber || 0)))} />
        </label>
        <p class="muted">It has {plural(s.replicas, "replica")} now. The number holds until the manifest changes it, or Atoll ends. With 0, requests wait in the queue and are then refused.</p>
        <div class="actions">
          <button type="submit" class="primary" disabled={busy}>
            {busy ? "Until they are ready …" : "Scale"}
          </button>
          <button type="button" onClick={onClose}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Overview({ s }: { s: Service }) {
  const top = useLive<Top>("2s /v1/top");
  const now = top.data?.services.find((t) => t.service === s.service);
  return (
    <>
      {now && (
        <div class="service-now">
          <Fact n={rate(now.per_second)} what="requests/s" />
          <Fact n={now.per_second ? `${(now.error_ratio * 100).toFixed(now.error_ratio ? 2 : 0)} %` : "–"} what="failed" bad={now.error_ratio > 0} />
          <Fact n={now.p50_ns ? duration(now.p50_ns) : "–"} what="median" />
          <Fact n={now.p99_ns ? duration(now.p99_ns) : "–"} what="p99" />
          <Fact n={`${(now.cpu * 100).toFixed(1)} %`} what="of a processor" />
          <Fact n={bytes(now.memory_bytes)} what="memory" />
        </div>
      )}
      <div class="grid">
        <Card title="Time to answer">
          <LatencyHeat query={`service = ${label(s.service)} and kind = server and scope = atoll`} height={190} />
        </Card>
        <Card title="Neighbours">
          <Map only={s.service} />
        </Card>
      </div>
      <Card title="Replicas" flush>
        {s.running.length ? <Replicas list={s.running} /> : <Empty title="No replica runs">{s.replicas === 0 ? "It was scaled to 0: give it some with Scale." : "They are being built: see its output."}</Empty>}
      </Card>
      <Card title="What it declares">
        <Declared s={s} />
      </Card>
      <ServicePanels service={s.service} sagas={s.takes.map((t) => t.saga)} />
    </>
  );
}

function Fact({ n, what, bad }: { n: string; what: string; bad?: boolean }) {
  return (
    <div>
      <b class={bad ? "bad-text" : ""}>{n}</b>
      <span class="muted">{what}</span>
    </div>
  );
}

function Replicas({ list }: { list: Replica[] }) {
  return (
    <Table
      name="replicas"
      label="Replicas"
      rows={list}
      id={(r) => r.replica}
      cols={[
        { key: "replica", head: "Replica", cell: (r) => <a href={href("/logs", { q: `service = ${label(r.service)} and replica = ${label(r.replica)}` })}>{r.replica}</a> },
        {
          key: "state",
          head: "State",
          cell: (r) => (
            <>
              <Mark tone={toneOf(r.state)}>{r.state}</Mark>
              {r.reason && <div class="service-reason">{r.reason}</div>}
            </>
          ),
        },
        { key: "since", head: "Since", cell: (r) => <Time at={r.since} relative /> },
        { key: "version", head: "Version", min: "m", cell: (r) => r.version },
        { key: "ready", head: "Ready in", num: true, min: "m", cell: (r) => (r.ready_ms ? duration(r.ready_ms * 1e6) : "–") },
        { key: "restarts", head: "Restarts", num: true, min: "s", cell: (r) => (r.restarts ? <span class="warn-text">{r.restarts}</span> : "0") },
        { key: "errors", head: "Failed", num: true, min: "s", cell: (r) => (r.errors ? <span class="bad-text">{count(r.errors)}</span> : "0") },
        { key: "cpu", head: "CPU time", num: true, min: "m", cell: (r) => spanText(r.cpu_ms * 1e6) },
        { key: "memory", head: "Memory", num: true, min: "s", cell: (r) => bytes(r.memory_bytes) },
        { key: "pid", head: "Process", num: true, min: "m", cell: (r) => r.pid || "–" },
        { key: "url", head: "Listens on", min: "m", cell: (r) => <code>{r.url}</code> },
      ]}
    />
  );
}

function Declared({ s }: { s: Service }) {
  return (
    <dl class="facts">
      <dt>Routes</dt>
      <dd>
        {s.routes.length
          ? s.routes.map((r) => (
              <div key={(r.host ?? "") + r.path + r.methods}>
                <code>
                  {r.methods?.join(" ")} {r.host}
                  {r.path}
                </code>{" "}
                {r.auth?.map((a) => (
                  <span key={a} class="tag">
                    {a}
                  </span>
                ))}{" "}
                {r.limits?.map((l) => (
                  <span key={l} class="tag">
                    {l}
                  </span>
                ))}
              </div>
            ))
          : "none: the gateway leads nobody here"}
      </dd>
      <dt>Calls</dt>
      <dd>{s.calls.length ? s.calls.map((c) => <div key={c.service}><Name name={c.service} /> <span class="muted">timeout {c.timeout}, {plural(c.tries, "try", "tries")}</span></div>) : "nobody"}</dd>
      <dt>Called by</dt>
      <dd>{s.called_by.length ? s.called_by.map((c) => <span key={c}><Name name={c} /> </span>) : "nobody"}</dd>
      <dt>Sagas</dt>
      <dd>
        {s.takes.length + s.sagas.length === 0 && "none"}
        {s.sagas.map((name) => (
          <div key={name}>starts <a href={href("/sagas", { saga: name })}>{name}</a></div>
        ))}
        {s.takes.map((t) => (
          <div key={t.saga}>takes {t.steps.join(", ")} of <a href={href("/sagas", { saga: t.saga })}>{t.saga}</a></div>
        ))}
      </dd>
      <dt>Database</dt>
      <dd>{s.database || "none"}</dd>
      <dt>Runs</dt>
      <dd>
        <code>{s.run}</code>
      </dd>
      {s.build && (
        <>
          <dt>Built by</dt>
          <dd>
            <code>{s.build}</code>
          </dd>
        </>
      )}
      <dt>Ready when</dt>
      <dd>
        <code>{s.ready}</code> answers, over {s.protocol}
      </dd>
      <dt>Folder</dt>
      <dd>
        <code>{s.dir}</code>
      </dd>
    </dl>
  );
}

function Events({ s }: { s: Service }) {
  const bus = useLive<Bus>("2s /v1/bus");
  if (!s.publishes.length && !Object.keys(s.subscribes).length) {
    return (
      <Card>
        <Empty title={`${s.service} has nothing to do with events`}>
          It publishes what its manifest names under <code>publishes</code>, and takes what stands under <code>subscribes</code>.
        </Empty>
      </Card>
    );
  }
  const topics = new window.Map(bus.data?.topics.map((t) => [t.topic, t]));
  const subs = new window.Map(bus.data?.subscriptions.map((x) => [x.subscription, x]));
  return (
    <>
      {s.publishes.length > 0 && (
        <Card title="Publishes" flush>
          <Table
            name="out"
            label="Topics that it publishes"
            rows={s.publishes}
            id={(t) => t}
            cols={[
              { key: "topic", head: "Topic", cell: (t) => <a href={href("/events", { tab: "events", topic: t })}>{t}</a> },
              { key: "summary", head: "What it tells", min: "m", cell: (t) => topics.get(t)?.summary ?? "" },
              { key: "who", head: "Who takes it", cell: (t) => <div class="wrap">{topics.get(t)?.subscribers.map((n) => <Name key={n} name={n} />)}</div> },
              { key: "n", head: "Published", num: true, min: "s", cell: (t) => count(topics.get(t)?.published ?? 0) },
              { key: "rate", head: "Rate", num: true, cell: (t) => `${rate(topics.get(t)?.rate ?? 0)}/s` },
            ]}
          />
        </Card>
      )}
      {Object.keys(s.subscribes).length > 0 && (
        <Card title="Takes" flush>
          <Table
            name="in"
            label="Topics that it subscribes to"
            rows={Object.entries(s.subscribes)}
            id={([t]) => t}
            cols={[
              { key: "topic", head: "Topic", cell: ([t]) => <a href={href("/events", { tab: "events", topic: t })}>{t}</a> },
              { key: "to", head: "At", min: "m", cell: ([, to]) => <code>{to}</code> },
              { key: "state", head: "State", cell: ([t]) => ((x) => (x ? <Mark tone={toneOf(x.state)}>{x.state}</Mark> : "–"))(subs.get(`${s.service}/${t}`)) },
              { key: "lag", head: "Waiting", num: true, cell: ([t]) => count(subs.get(`${s.service}/${t}`)?.waiting ?? 0) },
              { key: "failing", head: "Failing", num: true, min: "s", cell: ([t]) => count(subs.get(`${s.service}/${t}`)?.failing ?? 0) },
              {
                key: "dead",
                head: "Dead letters",
                num: true,
                cell: ([t]) => {
                  const dead = subs.get(`${s.service}/${t}`)?.dead ?? 0;
                  return dead ? <a class="bad-text" href={href("/events", { tab: "dead", subscription: `${s.service}/${t}` })}>{count(dead)}</a> : "0";
                },
              },
              { key: "rate", head: "Rate", num: true, min: "s", cell: ([t]) => `${rate(subs.get(`${s.service}/${t}`)?.rate ?? 0)}/s` },
            ]}
          />
        </Card>
      )}
    </>
  );
}

interface Variable {
  name: string;
  value?: string;
  hidden?: boolean;
  from: string;
}

const from: Record<string, string> = {
  manifest: "its manifest",
  secret: "a secret",
  call: "a call it may make",
  atoll: "Atoll",
  machine: "this machine",
  replica: "each replica has its own",
};

function Environment({ s }: { s: Service }) {
  const env = useAsk<{ variables: Variable[] }>(`/v1/services/${encodeURIComponent(s.service)}/environment` + q({}));
  return (
    <Card flush>
      <Answer of={env}>
        {({ variables }) => (
          <Table
            name="env"
            label="Environment"
            rows={variables}
            id={(v) => v.name}
            cols={[
              { key: "name", head: "Variable", sort: (v) => v.name, cell: (v) => <code>{v.name}</code> },
              { key: "value", head: "Value", cell: (v) => (v.hidden ? <span class="muted">•••••• hidden</span> : v.value ? <code class="service-value">{v.value}</code> : <span class="muted">–</span>) },
              { key: "from", head: "From", min: "s", sort: (v) => v.from, cell: (v) => <span class="muted nowrap">{from[v.from] ?? v.from}</span> },
            ]}
          />
        )}
      </Answer>
    </Card>
  );
}
