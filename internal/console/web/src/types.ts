// The shapes of the control API, as docs/reference/control-api.yaml describes them.

export interface App {
  app: string;
  dir: string;
  environment?: string;
  copy?: string;
  version: string;
  pid: number;
  started: string;
  gateway: string;
  state: "starting" | "running" | "stopping";
  memory_bytes: number;
}

export interface Replica {
  service: string;
  replica: string;
  state: string;
  pid: number;
  url: string;
  version: string;
  restarts: number;
  ready_ms: number;
  memory_bytes: number;
  cpu_ms: number;
  since: string;
  reason?: string;
  errors: number;
}

export interface Route {
  path: string;
  host?: string;
  methods?: string[];
  auth?: string[];
  limits?: string[];
  strip?: string;
  rewrite?: string;
}

export interface GatewayRoute extends Route {
  kind: "service" | "topic" | "saga";
  to: string;
  timeout: string;
  tries: number;
}

export interface Service {
  service: string;
  owner?: string;
  summary?: string;
  dir: string;
  build?: string;
  run: string;
  api?: string;
  protocol: string;
  port?: number;
  ready: string;
  database?: string;
  replicas: number;
  calls: { service: string; addr: string; timeout: string; tries: number }[];
  called_by: string[];
  routes: Route[];
  publishes: string[];
  subscribes: Record<string, string>;
  sagas: string[];
  takes: { saga: string; steps: string[] }[];
  secrets: string[];
  env: Record<string, string>;
  running: Replica[];
}

export interface Fault {
  file?: string;
  line?: number;
  column?: number;
  code: string;
  severity: string;
  source?: string;
  text: string;
  remedy?: string;
}

export interface TopRow {
  service: string;
  state: string;
  ready: number;
  replicas: number;
  per_second: number;
  error_ratio: number;
  p50_ns: number;
  p99_ns: number;
  cpu: number;
  memory_bytes: number;
  restarts: number;
}

export interface Top {
  time: string;
  window_ns: number;
  services: TopRow[];
}

export type Attributes = Record<string, unknown>;

interface SpanEvent {
  time: string;
  name: string;
  attributes?: Attributes;
}

export interface Span {
  trace_id: string;
  span_id: string;
  parent_id?: string;
  service: string;
  replica?: string;
  scope?: string;
  name: string;
  kind: string;
  time: string;
  duration_ns: number;
  status: "ok" | "error" | "unset";
  status_text?: string;
  attributes?: Attributes;
  resource?: Attributes;
  events?: SpanEvent[];
  links?: { trace_id: string; span_id: string; attributes?: Attributes }[];
}

export type Level = "debug" | "info" | "warn" | "error";

export interface LogRecord {
  time: string;
  service: string;
  replica?: string;
  scope?: string;
  level: Level;
  name?: string;
  text: string;
  trace_id?: string;
  span_id?: string;
  attributes?: Attributes;
  resource?: Attributes;
}

export interface Line {
  time: string;
  service: string;
  replica: string;
  stream: string;
  level: Level;
  text: string;
  trace_id?: string;
  missed?: number;
}

export interface TraceSummary {
  trace_id: string;
  time: string;
  duration_ns: number;
  service: string;
  name: string;
  status: string;
  status_text?: string;
  spans: number;
  errors: number;
  services: string[];
}

export interface Trace {
  trace_id: string;
  spans: Span[];
  records?: LogRecord[];
}

export interface Column {
  name: string;
  role: "time" | "group" | "value";
  unit?: string;
  zero?: boolean;
}

export interface TableAnswer {
  columns: Column[];
  rows: (string | number | boolean | null)[][];
  every_ns?: number;
  from?: string;
  to?: string;
}

export interface Found {
  traces?: TraceSummary[];
  spans?: Span[];
  records?: LogRecord[];
  table?: TableAnswer;
  reach: { blocks: number; rows: number; matched: number };
}

export interface Completion {
  text: string;
  kind: string;
  from: number;
  to: number;
  cursor: number;
  note?: string;
  rows?: number;
}

export interface Heat {
  spans: number; // that the query chose
  looked: number; // of them; counts are estimates where these are fewer
  from: string;
  to: string;
  every_ns: number;
  columns: number;
  edges_ns: number[];
  cells: [column: number, row: number, spans: number, errors: number][];
}

export interface Difference {
  spans: number;
  looked: number;
  inside: number;
  outside: number;
  fields: DiffField[];
  many?: string[];
  caps: { fields: number; values: number; reached: boolean };
}

export interface DiffField {
  field: string;
  difference: number;
  chance: number;
  values: DiffValue[];
}

export interface DiffValue {
  inside: number;
  outside: number;
  value?: unknown;
  cut?: boolean;
  low?: unknown;
  high?: unknown;
  missing?: boolean;
  rest?: boolean;
}

export interface MapNode {
  name: string;
  kind: "service" | "gateway" | "database" | "queue" | "outside";
  calls: number;
  errors: number;
}

export interface MapEdge {
  from: string;
  to: string;
  kind: "call" | "event" | "saga" | "gateway";
  calls: number;
  errors: number;
  p50: number;
  p99: number;
}

export interface ServiceMap {
  nodes: MapNode[];
  edges: MapEdge[];
  missed: number;
}

export interface Topic {
  topic: string;
  summary?: string;
  publishers: string[];
  subscribers: string[];
  schema: boolean;
  published: number;
  rate: number;
}

export interface Subscription {
  subscription: string;
  topics: string[];
  state: string;
  waiting: number;
  oldest?: string;
  in_flight: number;
  failing: number;
  rate: number;
  accepted: number;
  attempts: number;
  failed: number;
  died: number;
  dead: number;
}

export interface Bus {
  log: { first: number; next: number; events: number; bytes: number; oldest?: string };
  topics: Topic[];
  subscriptions: Subscription[];
  dead: number;
  delayed: number;
}

export interface StoredEvent {
  offset: number;
  topic: string;
  stored: string;
  publisher?: string;
  key?: string;
  only?: string;
  due?: string;
  event: CloudEvent;
}

export interface CloudEvent {
  id: string;
  source: string;
  type: string;
  subject?: string;
  time?: string;
  datacontenttype?: string;
  data?: unknown;
  data_base64?: string;
  [extension: string]: unknown;
}

export interface DeadLetter {
  offset: number;
  subscription: string;
  topic: string;
  origin: number;
  stored: string;
  died: string;
  cause: string;
  failed: number;
  attempts: { time: string; took_ms: number; status?: number; text?: string; replica?: string }[] | null;
  event: CloudEvent;
}

export interface Replayed {
  from: number;
  events: number;
  more?: boolean;
}

export interface Settled {
  done: number;
  failed: { offset: number; fault: Fault }[] | null;
}

interface SagaStep {
  step: string;
  kind: "call" | "child" | "wait" | "sleep";
  role: "compensatable" | "pivot" | "retriable";
  after: string[] | null;
  does: string;
  undo?: string;
  when?: string;
  each?: string;
  async?: boolean;
}

export interface Saga {
  saga: string;
  version: string;
  owner?: string;
  summary?: string;
  file?: string;
  in_force: boolean;
  started_by: { kind: string; name: string; when?: string }[] | null;
  key?: string;
  lock?: string;
  timeout?: string;
  instances: Record<string, number>;
  steps: SagaStep[];
  definition?: unknown;
}

export interface SagaInstance {
  id: string;
  saga: string;
  version: string;
  key?: string;
  state: "running" | "compensating" | "parked" | "completed" | "compensated";
  error?: { step?: string; text: string };
  parent?: string;
  started: string;
  ended?: string;
}

export interface SagaRequest {
  service: string;
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: unknown;
}

export interface SagaTask {
  task: string;
  state: string;
  attempt?: number;
  due?: string;
  text?: string;
  passed?: boolean;
  child?: string;
  topic?: string;
  key?: string;
  request?: SagaRequest;
}

export interface SagaStepStatus extends SagaStep {
  state: "open" | "running" | "done" | "skipped" | "failed" | "parked" | "undoing" | "undone";
  output?: unknown;
  tasks?: SagaTask[];
}

export interface SagaRecord {
  at: string;
  kind: string;
  task?: string;
  undo?: boolean;
  attempt?: number;
  status?: number;
  took_ms?: number;
  text?: string;
  replica?: string;
  by?: string;
  data?: unknown;
}

export interface SagaDetail extends SagaInstance {
  by?: string;
  compensating: boolean;
  input: unknown;
  output?: unknown;
  lock?: string;
  locked?: boolean;
  deadline?: string;
  trace_id?: string;
  newer_version?: string;
  steps: SagaStepStatus[];
  children?: SagaInstance[];
  history: SagaRecord[];
}

export interface SagaActed {
  found: number;
  done: number;
  failed: { id: string; fault: Fault }[] | null;
  more?: boolean;
}

export interface SagaMigrated {
  version: string;
  instances: { id: string; from: string; fault?: Fault }[];
  more?: boolean;
}

export interface Webhook {
  id: string;
  name?: string;
  url: string;
  topics: string[];
  filter?: Record<string, string>;
  allow_private?: boolean;
  state: "active" | "disabled";
  reason?: string;
  since: string;
  created: string;
  failing_since?: string;
  secret?: string;
}

export interface WebhookDelivery {
  delivery: number;
  time: string;
  message: string;
  topic: string;
  event_id: string;
  offset: number;
  attempt: number;
  status?: number;
  took_ms: number;
  class?: string;
  text?: string;
  answer?: string;
}

export interface Silence {
  id: string;
  state: "active" | "ended";
  matchers: string[];
  from: string;
  until: string;
  by: string;
  comment?: string;
}

export interface AlertChange {
  at: string;
  kind: string;
  alert?: string;
  labels?: Record<string, string>;
  value?: number;
  value_text?: string;
  summary?: string;
  reason?: string;
  subject?: string;
  by?: string;
}

export interface AlertTest {
  alert: string;
  query?: string;
  results: { labels: Record<string, string>; value: number; value_text: string; wrong: boolean; summary: string }[];
}

export interface Alert {
  alert: string;
  state: "pending" | "firing" | "resolved";
  severity: string;
  labels: Record<string, string>;
  summary: string;
  value: number;
  unit?: string;
  value_text: string;
  since: string;
  started: string;
  ended?: string;
  no_data_since?: string;
  silenced?: string[];
  fingerprint: string;
}

export interface AlertRule {
  alert: string;
  default: boolean;
  source: string;
  query?: string;
  compare?: string;
  threshold?: number;
  unit?: string;
  for?: string;
  within?: string;
  severity?: string;
  slo?: { service: string; objective: number; latency?: string; window: string };
  firing: number;
  pending: number;
  asked?: string;
  took_ms: number;
  error?: string;
  error_since?: string;
  dropped?: number;
}

export interface Alerts {
  alerts: Alert[];
  rules: AlertRule[];
  receivers: { name: string; severity?: string; groups: number; fails: number; error?: string; since?: string; next?: string; dropped?: number }[];
}

// Prometheus' HTTP API.
export interface PromAnswer {
  status: "success" | "error";
  error?: string;
  data?: { resultType: "matrix" | "vector" | "scalar" | "string"; result: PromSeries[] };
}

export interface PromSeries {
  metric: Record<string, string>;
  values?: [number, string][];
  value?: [number, string];
}
