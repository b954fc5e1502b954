// Ready-made plots of one service, by the metrics that Atoll keeps of each (docs/reference/metrics.md).
import { Card, Failed, Loading } from "../ui/basic";
import { Plot, type Unit } from "../ui/plot";
import { label, useCourse } from "../ui/prom";
import { href } from "../url";
import "./metrics.css";

interface Panel {
  title: string;
  unit: Unit;
  none: string; // said where there is nothing to draw
  queries: [label: string, query: string, color?: string][]; // {label} in a label is put in from the series
}

const requests = "http_server_request_duration_seconds";

/** panelsOf are the panels of a service, over windows of w. */
function panelsOf(service: string, sagas: string[] = []): Panel[] {
  const s = `service=${label(service)}`;
  const w = "1m";
  const quantile = (at: number): [string, string] => [`p${at * 100}`, `histogram_quantile(${at}, sum by (le) (rate(${requests}_bucket{${s}}[${w}])))`];
  const group = `messaging_consumer_group_name=~${label(regexp(service) + "(/.*)?")}`;
  const panels: Panel[] = [
    {
      title: "Requests by status",
      unit: "/s",
      none: "Nobody has asked the service in this time.",
      queries: [
        ["2xx", `sum(rate(${requests}_count{${s},http_response_status_code=~"2.."}[${w}]))`, "#2f9e63"],
        ["3xx", `sum(rate(${requests}_count{${s},http_response_status_code=~"3.."}[${w}]))`, "#3b6fd4"],
        ["4xx", `sum(rate(${requests}_count{${s},http_response_status_code=~"4.."}[${w}]))`, "#d08a1d"],
        ["5xx", `sum(rate(${requests}_count{${s},http_response_status_code=~"5.."}[${w}]))`, "#d6455d"],
        ["no answer", `sum(rate(${requests}_count{${s},http_response_status_code="",error_type!=""}[${w}]))`, "#8a7a12"],
      ],
    },
    {
      title: "Error ratio",
      unit: "share",
      none: "Nobody has asked the service in this time.",
      queries: [["failed", `(sum(rate(${requests}_count{${s},error_type!=""}[${w}])) or vector(0)) / (sum(rate(${requests}_count{${s}}[${w}])) > 0)`, "#d6455d"]],
    },
    { title: "Time to answer", unit: "s", none: "Nobody has asked the service in this time.", queries: [quantile(0.5), quantile(0.9), quantile(0.99)] },
    { title: "Processor", unit: "cores", none: "Nothing was measured in this time.", queries: [["{replica}", `sum by (replica) (rate(process_cpu_seconds_total{${s}}[${w}]))`]] },
    { title: "Memory", unit: "bytes", none: "Nothing was measured in this time.", queries: [["{replica}", `sum by (replica) (process_resident_memory_bytes{${s}})`]] },
    { title: "Restarts", unit: "", none: "No replica has restarted.", queries: [["{replica}", `sum by (replica) (atoll_replica_restarts_total{${s}})`]] },
    {
      title: "Events that wait",
      unit: "",
      none: "The service subscribes to no topic.",
      queries: [["{messaging_consumer_group_name}", `sum by (messaging_consumer_group_name) (atoll_events_waiting{${group}})`]],
    },
    {
      title: "Saga steps by outcome",
      unit: "/s",
      none: "No saga has called the service in this time.",
      queries: [["{outcome}", `sum by (outcome) (rate(atoll_saga_attempts_total{${s}}[${w}]))`]],
    },
  ];
  if (sagas.length) {
    panels.push({
      title: "Saga instances",
      unit: "",
      none: "No instance was started.",
      queries: [["{saga} {state}", `sum by (saga, state) (atoll_saga_instances{saga=~${label(sagas.map(regexp).join("|"))}})`]],
    });
  }
  return panels;
}

const regexp = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** ServicePanels are the ready-made plots of a service over the range of time in the address. */
export function ServicePanels({ service, sagas }: { service: string; sagas?: string[] }) {
  return (
    <div class="grid">
      {panelsOf(service, sagas).map((p) => (
        <PanelCard key={p.title} panel={p} />
      ))}
    </div>
  );
}

/** PanelCard asks all queries of a panel as one: each under a label of its own. */
function PanelCard({ panel }: { panel: Panel }) {
  const one = panel.queries.map(([, query], i) => `label_replace(${query}, "atoll_line", "${i}", "", "")`).join(" or ");
  const { course, error, data } = useCourse(one);
  const lines = (course?.lines ?? []).map((l) => {
    const [name, , color] = panel.queries[Number(l.labels.atoll_line ?? 0)]!;
    return { label: name.replace(/\{(\w+)\}/g, (_, k: string) => l.labels[k] ?? ""), values: l.values, color };
  });
  const asked = panel.queries.map(([, query]) => query);
  return (
    <Card
      title={panel.title}
      actions={
        <a href={href("/metrics", { e: JSON.stringify(asked) })} aria-label={`Explore ${panel.title}`} class="muted">
          Explore
        </a>
      }
    >
      {error && !course ? <Failed error={error} /> : !data ? <Loading rows={3} /> : lines.length && course ? <Plot times={course.times} lines={lines} unit={panel.unit} label={panel.title} height={150} /> : <p class="mt-none muted">{panel.none}</p>}
    </Card>
  );
}
