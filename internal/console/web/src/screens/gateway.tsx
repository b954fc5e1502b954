import { useMemo } from "preact/hooks";
import { useLive } from "../live";
import { label, rateWindow, useCourse, useInstant, whole } from "../ui/prom";
import { count, duration, percent, plural, range, rangeText } from "../time";
import { href, param, set } from "../url";
import { Answer, Card, Copy, Empty, Page, Service, Spark } from "../ui/basic";
import { Plot } from "../ui/plot";
import { Table } from "../ui/table";
import type { App, GatewayRoute, PromAnswer } from "../types";
import "./gateway.css";

const requests = 'http_server_request_duration_seconds_count{atoll_kind="gateway"';

/** byRoute gives the value of a route: of its path, and where several routes have that, of its methods too and of the service that it leads to. */
function byRoute(routes: GatewayRoute[], a: PromAnswer | undefined) {
  const values = (a?.data?.result ?? []).map((s) => ({ path: s.metric.http_route, method: s.metric.http_request_method ?? "", service: s.metric.service, n: Number(s.value?.[1] ?? 0) }));
  return (r: GatewayRoute) => values.filter((v) => v.path === r.path && (!shared(routes, r) || (v.service === asked(r) && (!r.methods || r.methods.includes(v.method))))).reduce((n, v) => n + v.n, 0);
}

const shared = (routes: GatewayRoute[], r: GatewayRoute) => routes.filter((one) => one.path === r.path).length > 1;

/** asked is who answers for a route: what leads to a topic or a saga, the gateway answers itself. */
const asked = (r: GatewayRoute) => (r.kind === "service" ? r.to : "gateway");

/** causes are why the gateway itself refuses a request, by the code of the fault. */
const causes: Record<string, string> = {
  "limit-exceeded": "over a limit",
  "auth-missing": "no proof of who it is",
  "auth-refused": "proof refused",
  "auth-unavailable": "proof cannot be checked",
  "route-not-found": "no route",
  "method-refused": "method not allowed",
  "origin-refused": "page of another origin",
  "body-too-large": "body too large",
  "header-too-large": "headers too large",
  "path-refused": "path that can be read in two ways",
  "request-refused": "not a request as it should be",
  "client-too-slow": "client too slow",
  "service-not-ready": "no replica ready",
  "service-busy": "queue full",
  "service-failed": "service did not answer",
  "service-timeout": "service too slow",
};

export default function Gateway() {
  const app = useLive<App>("5s /v1/app");
  const routes = useLive<{ routes: GatewayRoute[] }>("5s /v1/routes");
  const by = useCourse(`sum by (http_route, service) (rate(${requests}}[${rateWindow()}]))`);
  const totals = useInstant(`sum by (http_route, http_request_method, service) (increase(${requests}}[${whole()}]))`);
  const failed = useInstant(`sum by (http_route, http_request_method, service) (increase(${requests},error_type!=""}[${whole()}]))`);
  const limited = useInstant(`sum by (http_route, http_request_method, service) (increase(${requests},atoll_code="limit-exceeded"}[${whole()}]))`);
  const p99 = useInstant(`histogram_quantile(0.99, sum by (http_route, service, le) (rate(http_server_request_duration_seconds_bucket{atoll_kind="gateway"}[${whole()}])))`);
  const find = param("find").toLowerCase();
  const list = routes.data?.routes ?? [];
  const sparks = useMemo(() => new Map(by.course?.lines.map((l) => [`${l.labels.http_route}\n${l.labels.service}`, l.values])), [by.course]);
  const spark = (r: GatewayRoute) => sparks.get(`${r.path}\n${asked(r)}`);
  const total = byRoute(list, totals.data);
  const bad = byRoute(list, failed.data);
  const over = byRoute(list, limited.data);
  const slow = (r: GatewayRoute) => Number(p99.data?.data?.result.find((s) => s.metric.http_route === r.path && s.metric.service === asked(r))?.value?.[1] ?? 0);
  return (
    <Page
      title="Gateway"
      sub={app.data && <>listens on <code>{app.data.gateway}</code> <Copy text={app.data.gateway} label="Copy address" /></>}
      actions={<input type="search" placeholder="Filter routes" aria-label="Filter routes" value={param("find")} onInput={(e) => set({ find: e.currentTarget.value })} />}
    >
      <div class="grid">
        <Traffic />
        <Refusals />
      </div>
      <Card title="Routes, the first that fits wins" flush actions={<span class="muted">{rangeText(range.value)}</span>}>
        <Answer of={routes} rows={6}>
          {({ routes }) =>
            routes.length === 0 ? (
              <Empty title="The gateway has no route">
                Lead some paths to a service in atoll.yaml: <code>{"gateway: {routes: [{path: /**, to: web}]}"}</code>
              </Empty>
            ) : (
              <Table
                label="Routes"
                rows={routes.map((r, i) => ({ ...r, i })).filter((r) => !find || [r.path, r.to, r.host].some((s) => s?.toLowerCase().includes(find)))}
                id={(r) => String(r.i)}
                link={(r) => href("/traces", { q: `kind = server and http.route = ${label(r.path)}` + (shared(list, r) ? ` and service = ${label(asked(r))}` : "") })}
                cols={[
                  {
                    key: "path",
                    head: "Path",
                    cell: (r) => (
                      <div class="gateway-path">
                        <code>
                          {r.host}
                          {r.path}
                        </code>
                        {r.methods && <span class="muted">{r.methods.join(", ")}</span>}
                      </div>
                    ),
                  },
                  { key: "to", head: "To", cell: (r) => (r.kind === "service" ? <Service name={r.to} /> : r.kind === "topic" ? <a href={href("/events", { tab: "events", topic: r.to })}>topic {r.to}</a> : <a href={href("/sagas", { saga: r.to })}>saga {r.to}</a>) },
                  {
                    key: "asks",
                    head: "Asks for",
                    min: "m",
                    cell: (r) => (
                      <div class="wrap">
                        {r.auth?.map((a) => <span key={a} class="tag">{a}</span>)}
                        {r.limits?.map((l) => <span key={l} class="tag">{l}</span>)}
                        {!r.auth?.length && !r.limits?.length && <span class="muted">nothing</span>}
                      </div>
                    ),
                  },
                  {
                    key: "n",
                    head: "Requests",
                    num: true,
                    sort: total,
                    cell: (r) => (
                      <div class="sparked">
                        {spark(r) && <Spark values={spark(r)!} label={`Requests on ${r.path}`} />}
                        <span>{count(Math.round(total(r)))}</span>
                      </div>
                    ),
                  },
                  { key: "failed", head: "Failed", num: true, sort: bad, cell: (r) => (bad(r) ? <span class="bad-text">{percent(bad(r) / Math.max(1, total(r)))}</span> : <span class="muted">–</span>) },
                  { key: "limit", head: "Over limit", num: true, min: "s", sort: over, cell: (r) => (over(r) ? <span class="warn-text">{count(Math.round(over(r)))}</span> : <span class="muted">–</span>) },
                  { key: "p99", head: "p99", num: true, min: "s", sort: slow, cell: (r) => ((v) => (v && isFinite(v) ? duration(v * 1e9) : <span class="muted">–</span>))(slow(r)) },
                  { key: "timeout", head: "Timeout", min: "m", cell: (r) => <span class="muted nowrap">{r.timeout.replace(/(\d[mh])0[ms](0s)?$/, "$1")}, {plural(r.tries, "try", "tries")}</span> },
                ]}
              />
            )
          }
        </Answer>
      </Card>
    </Page>
  );
}

function Traffic() {
  const a = useCourse(`sum by (http_response_status_code) (rate(${requests}}[${rateWindow()}]))`);
  const m = a.course;
  const classes = useMemo(() => {
    const sums = new Map<string, (number | null)[]>();
    for (const s of m?.lines ?? []) {
      const c = (s.labels.http_response_status_code ?? "?")[0] + "xx";
      const to = sums.get(c) ?? new Array(m!.times.length).fill(null);
      s.values.forEach((v, i) => v !== null && (to[i] = (to[i] ?? 0) + v));
      sums.set(c, to);
    }
    const color: Record<string, string> = { "2xx": "#2f9e6b", "3xx": "#3b82c4", "4xx": "#d08700", "5xx": "#d03b4b" };
    return [...sums].sort().map(([label, values]) => ({ label, values, color: color[label] }));
  }, [m]);
  return (
    <Card title="Requests by status">
      <Answer of={{ ...a, data: m }}>{(m) => (m.lines.length ? <Plot times={m.times} lines={classes} unit="/s" label="Requests a second by class of status" /> : <Empty title="No request came in this time">Send one: every route below says where it leads.</Empty>)}</Answer>
    </Card>
  );
}

/** Refusals are the requests that failed at the gateway, by cause. */
function Refusals() {
  const a = useInstant(`sort_desc(sum by (error_type, atoll_code) (increase({__name__="http_server_request_duration_seconds_count",atoll_kind="gateway",error_type=~".+"}[${whole()}]) or increase({__name__="http_server_request_duration_seconds_count",atoll_kind="gateway",atoll_code=~".+"}[${whole()}])) > 0.5)`);
  return (
    <Card title="Refused and failed, by cause">
      <Answer of={a}>
        {(answer) => {
          const list = answer.data?.result.map((s) => ({ code: s.metric.atoll_code || s.metric.error_type || "", field: s.metric.atoll_code ? "atoll.code" : "error.type", n: Number(s.value?.[1] ?? 0) })) ?? [];
          const top = Math.max(1, ...list.map((l) => l.n));
          if (!list.length) return <Empty title="Nothing was refused">No request failed at the gateway, {rangeText(range.value)}.</Empty>;
          return (
            <ul class="bars">
              {list.map(({ code, field, n }) => (
                <li key={code}>
                  <a href={href("/traces", { q: `kind = server and ${field} = ${label(code)}` })}>
                    <span>{causes[code] ?? (/^5\d\d$/.test(code) ? `the service answered ${code}` : code)}</span>
                    <code class="muted">{code}</code>
                    <b>{count(Math.round(n))}</b>
                    <i style={{ width: `${(n / top) * 100}%` }} />
                  </a>
                </li>
              ))}
            </ul>
          );
        }}
      </Answer>
    </Card>
  );
}
