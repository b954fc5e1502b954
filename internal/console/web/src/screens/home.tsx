import { useMemo, useRef } from "preact/hooks";
import { lazy } from "../ui/lazy";
import { useLive } from "../live";
import { useKeys } from "../keys";
import { label, useCourse } from "../ui/prom";
import { q } from "../api";
import { bytes, count, duration, moving, percent, plural, range, rangeText, rate } from "../time";
import { go, href, param, set } from "../url";
import { Answer, Card, Empty, Failed, Mark, Page, Service, Spark, toneOf, type Tone } from "../ui/basic";
import { Table, type Col } from "../ui/table";
import type { Alerts, Bus, Fault, Found, Saga, Service as ServiceInfo, Top, TopRow } from "../types";
import "./home.css";

const Map = lazy(() => import("./map"));

interface Row extends TopRow {
  info?: ServiceInfo;
  spark?: (number | null)[];
  logged: number;
}

const order: Record<Tone, number> = { bad: 0, warn: 1, busy: 2, ok: 3, off: 4 };

export default function Home() {
  const top = useLive<Top>("2s /v1/top");
  const services = useLive<{ services: ServiceInfo[] }>("5s /v1/services");
  const rates = useCourse("sum by (service) (rate(http_server_request_duration_seconds_count[1m]))");
  const { from, to } = moving();
  const logged = useLive<Found>("10s /v1/records" + q({ query: "level >= error | count() by service | limit 1000", from, to }));
  const view = param("view", "list");
  const find = param("find");
  const box = useRef<HTMLInputElement>(null);
  useKeys([
    ["/", "Search", () => box.current?.focus()],
    ["v", "List or map", () => set({ view: param("view", "list") === "map" ? undefined : "map" })],
  ]);

  const rows = useMemo(() => {
    const sparks = new window.Map(rates.course?.lines.map((l) => [l.labels.service, l.values]));
    const errors = new window.Map(logged.data?.table?.rows.map((r) => [r[0], Number(r[1])]));
    const infos = new window.Map(services.data?.services.map((s) => [s.service, s]));
    return top.data?.services
      .map((t): Row => ({ ...t, info: infos.get(t.service), spark: sparks.get(t.service), logged: errors.get(t.service) ?? 0 }))
      .sort((a, b) => order[tone(a)] - order[tone(b)] || (a.service < b.service ? -1 : 1));
  }, [top.data, services.data, rates.course, logged.data]);
  const wanted = find.toLowerCase();
  const shown = rows?.filter((r) => !wanted || [r.service, r.info?.owner, r.info?.summary].some((s) => s?.toLowerCase().includes(wanted)));

  return (
    <Page
      title="Services"
      actions={
        <>
          <input ref={box} type="search" placeholder="Filter  /" aria-label="Filter services" value={find} onInput={(e) => set({ find: e.currentTarget.value })} onKeyDown={(e) => e.key === "Escape" && box.current?.blur()} />
          <div class="seg" role="group" aria-label="View">
            {(["list", "map"] as const).map((v) => (
              <button key={v} type="button" aria-pressed={view === v} onClick={() => set({ view: v === "list" ? undefined : v })}>
                {v === "list" ? "List" : "Map"}
              </button>
            ))}
          </div>
        </>
      }
    >
      <Attention rows={rows} />
      <Card flush class="home-services">
        {view === "map" ? (
          <Map find={wanted} />
        ) : (
          <Answer of={{ ...top, data: shown }} rows={8}>
            {(shown) =>
              shown.length > 0 ? (
                <Table label="Services" cols={cols()} rows={shown} id={(r) => r.service} link={(r) => href("/service/" + encodeURIComponent(r.service))} />
              ) : find ? (
                <Empty title={`No service fits “${find}”`}>
                  <button type="button" onClick={() => set({ find: undefined })}>
                    Show all
                  </button>
                </Empty>
              ) : (
                <Empty title="The application has no service yet">
                  Write a <code>service.yaml</code> in a folder of its own, or begin with <code>atoll init</code>. It appears here by itself.
                </Empty>
              )
            }
          </Answer>
        )}
      </Card>
    </Page>
  );
}

/** tone is how a service is, by its worst replica and what it answers. */
function tone(r: TopRow): Tone {
  const t = toneOf(r.state);
  return t === "ok" && r.error_ratio >= 0.05 && r.per_second > 0 ? "warn" : t;
}

function cols(): Col<Row>[] {
  return [
    {
      key: "service",
      head: "Service",
      sort: (r) => r.service,
      cell: (r) => (
        <div class="home-name">
          <Service name={r.service} />
          <small class="muted cut">{r.info?.summary}</small>
        </div>
      ),
    },
    { key: "state", head: "State", sort: (r) => order[tone(r)], cell: (r) => <State r={r} /> },
    { key: "owner", head: "Owner", min: "m", sort: (r) => r.info?.owner ?? "", cell: (r) => <span class="muted nowrap">{r.info?.owner ?? "–"}</span> },
    { key: "version", head: "Version", min: "m", cell: (r) => <span class="muted">{versions(r.info)}</span> },
    {
      key: "rate",
      head: "Requests/s",
      num: true,
      sort: (r) => r.per_second,
      cell: (r) => (
        <div class="sparked">
          {r.spark && <Spark values={r.spark} label={`Requests to ${r.service}, ${rangeText(range.value)}`} />}
          <span>{rate(r.per_second)}</span>
        </div>
      ),
    },
    { key: "failed", head: "Failed", num: true, min: "s", sort: (r) => r.error_ratio, cell: (r) => <span class={r.error_ratio > 0 ? "bad-text" : "muted"}>{r.per_second > 0 ? percent(r.error_ratio) : "–"}</span> },
    { key: "p99", head: "p99", num: true, min: "s", sort: (r) => r.p99_ns, cell: (r) => (r.p99_ns ? duration(r.p99_ns) : <span class="muted">–</span>) },
    {
      key: "errors",
      head: "Errors",
      num: true,
      min: "s",
      sort: (r) => r.logged,
      cell: (r) =>
        r.logged > 0 ? (
          <a class="bad-text" href={href("/logs", { q: `service = ${label(r.service)} and level >= error` })} title="the lines behind it">
            ✕ {count(r.logged)}
          </a>
        ) : (
          <span class="muted">0</span>
        ),
    },
    { key: "cpu", head: "CPU", num: true, min: "m", sort: (r) => r.cpu, cell: (r) => percent(r.cpu) },
    { key: "memory", head: "Memory", num: true, min: "m", sort: (r) => r.memory_bytes, cell: (r) => bytes(r.memory_bytes) },
  ];
}

function State({ r }: { r: Row }) {
  const t = tone(r);
  const ill = r.info?.running.find((x) => toneOf(x.state) === "bad");
  const word = t === "warn" && toneOf(r.state) === "ok" ? "failing requests" : r.state;
  return (
    <Mark tone={t} title={ill?.reason}>
      {word} <span class="muted">{`${r.ready}/${r.replicas}`}</span>
    </Mark>
  );
}

function versions(info?: ServiceInfo): string {
  const all = [...new Set(info?.running.map((r) => r.version))];
  return all.length ? all.join(", ") : "–";
}

/** Attention says what is ill, and where to click; where nothing is, it says so in one line. */
function Attention({ rows }: { rows?: Row[] }) {
  const alerts = useLive<Alerts>("5s /v1/alerts");
  const bus = useLive<Bus>("5s /v1/bus");
  const sagas = useLive<{ sagas: Saga[] }>("5s /v1/sagas");
  const findings = useLive<{ findings: Fault[] }>("15s /v1/findings");
  if (!rows) return null;
  const items: { key: string; tone: Tone; what: preact.ComponentChildren; to: string; go: string }[] = [];
  for (const r of rows) {
    const ill = r.info?.running.filter((x) => toneOf(x.state) === "bad") ?? [];
    if (toneOf(r.state) === "bad") {
      items.push({ key: r.service, tone: "bad", what: (<><b>{r.service}</b> {r.state}{ill[0]?.reason ? `: ${ill[0].reason}` : ""}</>), to: href("/logs", { q: `service = ${label(r.service)}` }), go: "Its output" });
    } else if (tone(r) === "warn" && toneOf(r.state) === "ok") {
      items.push({ key: r.service, tone: "warn", what: (<><b>{r.service}</b> fails {percent(r.error_ratio)} of its requests</>), to: href("/traces", { q: `service = ${label(r.service)} and status = error` }), go: "The failures" });
    }
  }
  for (const a of alerts.data?.alerts ?? []) {
    // Of these two more is said below, with the way to what they are about.
    if (a.alert === "dead-letters" || a.alert === "parked-sagas") continue;
    if (a.state === "firing" && !a.silenced?.length) items.push({ key: a.fingerprint, tone: a.severity === "critical" ? "bad" : "warn", what: (<><b>{a.alert}</b> {a.summary}</>), to: href("/alerts"), go: "The alert" });
  }
  if (bus.data?.dead) items.push({ key: "dead", tone: "warn", what: (<><b>{plural(bus.data.dead, "dead letter")}</b> {bus.data.dead === 1 ? "waits" : "wait"} for somebody to look</>), to: href("/events", { tab: "dead" }), go: "Dead letters" });
  const parked = sagas.data?.sagas.reduce((n, s) => n + (s.instances.parked ?? 0), 0) ?? 0;
  if (parked) items.push({ key: "parked", tone: "warn", what: (<><b>{plural(parked, "saga")}</b> parked: only a person can say how {parked === 1 ? "it goes" : "they go"} on</>), to: href("/sagas", { state: "parked" }), go: "Parked sagas" });
  const wrong = findings.data?.findings.filter((f) => f.severity === "error").length ?? 0;
  if (wrong) items.push({ key: "findings", tone: "bad", what: (<><b>{plural(wrong, "error")}</b> in the manifests: what is there now is not in force</>), to: href("/check"), go: "Findings" });
  const ready = rows.filter((r) => toneOf(r.state) === "ok").length;
  const total = rows.reduce((n, r) => n + r.per_second, 0);
  const failed = rows.reduce((n, r) => n + r.per_second * r.error_ratio, 0);
  const firing = alerts.data?.alerts.filter((a) => a.state === "firing") ?? [];
  const silenced = firing.filter((a) => a.silenced?.length).length;
  const asked = [alerts, bus, sagas, findings];
  const unknown = asked.find((a) => a.error)?.error;
  // Nobody is told that all is well before everything was looked at.
  const known = asked.every((a) => a.data && !a.error);
  const starting = rows.filter((r) => toneOf(r.state) === "busy").length;
  return (
    <section class="home-state" aria-label="State">
      <div class="home-tiles">
        <Tile n={`${ready} of ${rows.length}`} what="services ready" tone={ready === rows.length ? "ok" : items.some((i) => i.tone === "bad") ? "bad" : "busy"} note={starting ? `${starting} starting` : undefined} />
        <Tile n={rate(total)} what="requests a second" to={href("/traces")} />
        <Tile n={total > 0 ? percent(failed / total) : "–"} what="of them fail" tone={failed > 0 ? "bad" : undefined} to={href("/traces", { q: "status = error" })} />
        <Tile n={alerts.data ? String(firing.length - silenced) : "–"} what="alerts firing" note={silenced ? `${silenced} silenced` : undefined} to={href("/alerts")} />
      </div>
      {unknown && <Failed error={unknown} />}
      {items.length > 0 ? (
        <ul class="home-ill">
          {items.slice(0, 6).map((i) => (
            <li key={i.key} onClick={(e) => !(e.target as Element).closest("a") && go(i.to)}>
              <Mark tone={i.tone}>{""}</Mark>
              <span>{i.what}</span>
              <a href={i.to}>{i.go} →</a>
            </li>
          ))}
          {items.length > 6 && <li class="muted">and {items.length - 6} more; filter the list below</li>}
        </ul>
      ) : !known ? null : (
        <p class="home-well">
          <Mark tone={starting ? "busy" : "ok"}>{starting ? `${plural(starting, "service")} starting` : "All is well"}</Mark> <span class="muted">{starting ? "" : "no service ill, no alert firing, nothing waiting for a person"}</span>
        </p>
      )}
    </section>
  );
}

function Tile({ n, what, note, tone, to }: { n: string; what: string; note?: string; tone?: Tone; to?: string }) {
  const inner = (
    <>
      <b class={tone === "bad" ? "bad-text" : ""}>{n}</b>
      <span class="muted">{note ? `${what}, ${note}` : what}</span>
    </>
  );
  return to ? (
    <a class="home-tile" href={to}>
      {inner}
    </a>
  ) : (
    <div class="home-tile">{inner}</div>
  );
}
