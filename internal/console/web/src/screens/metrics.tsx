import { useMemo, useState } from "preact/hooks";
import { q } from "../api";
import { useLive } from "../live";
import { useKeys } from "../keys";
import { plural } from "../time";
import type { PromAnswer, Service as ServiceT } from "../types";
import { href, param, set } from "../url";
import { Card, colorOf, Empty, Loading, Page } from "../ui/basic";
import { format, Plot, type Line, type Unit } from "../ui/plot";
import { nameOf, useCourse } from "../ui/prom";
import { Table, type Col } from "../ui/table";
import { PromInput } from "./metrics_input";
import { ServicePanels } from "./panels";
import "./metrics.css";

const maxQueries = 6;
const maxLines = 20;

/** expressions are those in the address. */
function expressions(): string[] {
  try {
    const list: unknown = JSON.parse(param("e", "[]"));
    if (Array.isArray(list)) return list.filter((x): x is string => typeof x === "string").slice(0, maxQueries);
  } catch {
    // An address that somebody wrote by hand.
  }
  return param("e") ? [param("e")] : [];
}

export default function Metrics() {
  const service = param("service");
  const services = useLive<{ services: ServiceT[] } | ServiceT[]>("15s /v1/services");
  const list = Array.isArray(services.data) ? services.data : (services.data?.services ?? []);
  return (
    <Page title="Metrics" sub={service ? `What Atoll has measured of ${service}.` : "Any question to the metrics in PromQL, or what is measured of a service."}>
      <nav class="mt-services" aria-label="Panels of a service">
        <a class="tag" aria-current={service ? undefined : "page"} href={href("/metrics", { e: param("e") })}>
          Explorer
        </a>
        {list.map((s) => (
          <a key={s.service} class="tag" aria-current={s.service === service ? "page" : undefined} href={href("/metrics", { service: s.service })}>
            <i class="dot" style={{ background: colorOf(s.service) }} /> {s.service}
          </a>
        ))}
      </nav>
      {service ? <ServicePanels key={service} service={service} sagas={list.find((s) => s.service === service)?.takes?.map((t) => t.saga)} /> : <Explorer />}
    </Page>
  );
}

const examples = [
  "sum by (service) (rate(http_server_request_duration_seconds_count[1m]))",
  "histogram_quantile(0.99, sum by (service, le) (rate(http_server_request_duration_seconds_bucket[5m])))",
  "sum by (service) (process_resident_memory_bytes)",
  "atoll_events_waiting",
];

function Explorer() {
  const list = expressions();
  const [draft, setDraft] = useState(list.length === 0); // an empty field at the end
  const ask = (i: number, text: string) => {
    const next = list.slice();
    if (text.trim()) next[i] = text.trim();
    else next.splice(i, 1);
    setDraft(next.length === 0);
    set({ e: next.length ? JSON.stringify(next) : undefined }, false);
  };
  useKeys([["/", "Ask the metrics", () => document.querySelector<HTMLElement>(".mt-input input")?.focus()]]);
  const fields = draft ? [...list, ""] : list;
  return (
    <>
      <section aria-label="Queries">
        {fields.map((text, i) => (
          <div key={i + (text ? "" : "new")} class="mt-query">
            <span class="swatch" aria-hidden="true">
              {String.fromCharCode(65 + i)}
            </span>
            <PromInput value={text} onAsk={(t) => ask(i, t)} label={`Query ${String.fromCharCode(65 + i)}`} />
            <button type="button" class="quiet" aria-label={`Remove query ${String.fromCharCode(65 + i)}`} disabled={!text && list.length === 0} onClick={() => ask(i, "")}>
              ✕
            </button>
          </div>
        ))}
        {!draft && list.length < maxQueries && (
          <button type="button" onClick={() => setDraft(true)}>
            Add a query
          </button>
        )}
      </section>
      {list.length === 0 ? (
        <Card>
          <Empty title="Ask the metrics">
            Atoll counts every request, event and saga, and keeps what services send. Begin with one of these:
            <div class="mt-examples">
              {examples.map((e) => (
                <button key={e} type="button" onClick={() => ask(0, e)}>
                  {e}
                </button>
              ))}
            </div>
          </Empty>
        </Card>
      ) : (
        list.map((text, i) => <Answered key={text + i} query={text} letter={String.fromCharCode(65 + i)} />)
      )}
    </>
  );
}

function Answered({ query, letter }: { query: string; letter: string }) {
  const { course, data, error } = useCourse(query, "5s");
  const now = useLive<PromAnswer>("5s /prometheus/api/v1/query" + q({ query }));
  const unit = useMemo(() => unitOf(query), [query]);
  const problem = error ?? now.error;
  const lines: Line[] = (course?.lines ?? []).slice(0, maxLines).map((l) => ({ label: l.label, values: l.values }));
  const result = now.data?.data?.result;
  const type = now.data?.data?.resultType;
  return (
    <Card title={<>{letter}: <code>{query}</code></>} actions={course && <span class="muted">{plural(course.lines.length, "series", "series")}</span>}>
      {problem && !data ? (
        <div class="query-error" role="alert">
          <strong>{problem.detail}</strong> <span class="muted">{problem.remedy}</span>
        </div>
      ) : !data ? (
        <Loading rows={4} />
      ) : lines.length && course ? (
        <>
          <Plot times={course.times} lines={lines} unit={unit} label={query} height={210} />
          {course.lines.length > maxLines && <p class="muted">The first {maxLines} series are drawn. Group them: sum by (service) (…)</p>}
        </>
      ) : (
        <Empty title="No series in this time">The metric may have another name or other labels: type a part of it, and see what there is. Or take a longer range at the top.</Empty>
      )}
      {type === "vector" && result && result.length > 0 && <Values rows={result.map((s) => ({ name: nameOf(s.metric), value: Number(s.value?.[1]) }))} unit={unit} name={letter} />}
    </Card>
  );
}

function Values({ rows, unit, name }: { rows: { name: string; value: number }[]; unit: Unit; name: string }) {
  const [all, setAll] = useState(false);
  const cols: Col<{ name: string; value: number }>[] = [
    { key: "name", head: "Series", cell: (r) => <code class="mt-series" title={r.name}>{r.name}</code>, sort: (r) => r.name },
    { key: "value", head: "Now", cell: (r) => format(r.value, unit), sort: (r) => r.value, num: true },
  ];
  const sorted = rows.slice().sort((a, b) => b.value - a.value);
  const shown = all ? sorted : sorted.slice(0, 10);
  return (
    <>
      <Table label="Values now" name={`values${name}`} cols={cols} rows={shown} id={(r) => r.name} />
      {rows.length > 10 && (
        <button type="button" class="mt-all" onClick={() => setAll(!all)}>
          {all ? "Fewer" : `All ${rows.length} series`}
        </button>
      )}
    </>
  );
}

/** unitOf guesses the unit from the name of the metric, which by convention ends in it, and from what is done to it. */
function unitOf(query: string): Unit {
  const ratio = /\)\s*\/\s*\(?\s*sum/.test(query);
  if (ratio) return "share";
  if (/histogram_quantile/.test(query)) return /_seconds_/.test(query) ? "s" : "";
  if (/\b(rate|irate)\s*\(/.test(query)) return /cpu_seconds_total/.test(query) ? "cores" : /_seconds(_sum|_total)?\b/.test(query) ? "" : "/s";
  if (/_bytes\b/.test(query)) return "bytes";
  return /_seconds\b/.test(query) ? "s" : "";
}
