// Whatever a program or a person writes into any field stays text: no script of it runs, no element comes of it, and no screen bursts.
//
// First what can really be sent is sent: spans, lines, metrics, requests, events, sagas, silences, webhooks. Then every text of every answer
// is made hostile on its way to the page, so that no field is left out.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { api, close, gateway, open, until } from "./harness.mjs";

after(close);

const evil = `\u200f"><img src=x onerror="window.hacked=1"><script>window.hacked=2</script>'\`\${1}</title><svg onload=window.hacked=3>&lt;b&gt;%00%2F..{{7}}`;
const mark = "<img src=x"; // what is looked for in the text
const long = evil + "W".repeat(5000);
const short = evil.slice(0, 60); // where a field is bounded

const address = (path, params) => path + "?" + new URLSearchParams(params);
const hex = (n) => randomBytes(n).toString("hex");
const trace = hex(16);
const text = (stringValue) => ({ stringValue });

/** send puts OTLP as JSON where programs put it. */
async function send(signal, body) {
  const { otlp_http: at } = await api("/v1/telemetry");
  const answer = await fetch(`${at.startsWith("http") ? at : "http://" + at}/v1/${signal}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  assert.equal(answer.status, 200, await answer.text());
}

const nano = (ms) => String(BigInt(Math.round(ms)) * 1_000_000n);
const resource = (service) => ({ attributes: [{ key: "service.name", value: text(service) }, { key: "service.instance.id", value: text(service + "-1") }, { key: evil, value: text(long) }] });

async function spans() {
  const now = Date.now() - 2000;
  const root = hex(8);
  const call = hex(8);
  const span = (name, spanId, parentSpanId, kind, at, took) => ({
    traceId: trace,
    spanId,
    parentSpanId,
    name,
    kind,
    startTimeUnixNano: nano(now + at),
    endTimeUnixNano: nano(now + at + took),
    status: { code: 2, message: long },
    attributes: [{ key: evil, value: text(long) }, { key: long, value: text(evil) }, { key: "http.route", value: text(evil) }, { key: "peer.service", value: text(evil) }, { key: "__proto__", value: text(evil) }, { key: "list", value: { arrayValue: { values: [text(long)] } } }],
    events: [{ timeUnixNano: nano(now + at + 1), name: "exception", attributes: [{ key: "exception.message", value: text(long) }] }, { timeUnixNano: nano(now + at + 1), name: long, attributes: [{ key: evil, value: text(long) }] }],
  });
  const of = (service, list) => ({ resource: resource(service), scopeSpans: [{ scope: { name: long }, spans: list }] });
  await send("traces", { resourceSpans: [of(evil, [span(evil, root, "", 2, 0, 900), span(evil, call, root, 3, 100, 400)]), of(long, [span(long, hex(8), call, 2, 120, 300)])] });
  await until("the trace is kept", async () => (await api("/v1/traces/" + trace)).spans.length === 3);
}

const line = (body, more = {}) => ({ timeUnixNano: nano(Date.now()), severityNumber: 17, severityText: evil, body: text(body), attributes: [{ key: evil, value: text(long) }, { key: long, value: text(evil) }], ...more });

const lines = () =>
  send("logs", {
    resourceLogs: [evil, long].map((service) => ({ resource: resource(service), scopeLogs: [{ scope: { name: evil }, logRecords: [line(evil), line(long), line(JSON.stringify({ msg: evil, [evil]: long })), line(evil, { eventName: long, traceId: trace })] }] })),
  });

const metrics = () =>
  send("metrics", {
    resourceMetrics: [{ resource: resource(evil), scopeMetrics: [{ metrics: [{ name: "hostile.things", description: evil, gauge: { dataPoints: [evil, long].map((v, i) => ({ timeUnixNano: nano(Date.now()), asDouble: i + 1, attributes: [{ key: "label", value: text(v) }] })) } }] }] }],
  });

const post = (path, body, headers) => api(path, { method: "POST", body: JSON.stringify(body), headers });

const publish = (headers) =>
  post("/v1/bus/topics/tracking.purge/events", { specversion: "1.0", id: evil + hex(4), source: "/" + encodeURIComponent(evil), type: evil, subject: evil, data: { [evil]: long, list: [evil] } }, { "Content-Type": "application/cloudevents+json", ...headers });

let saga;
let webhook;
let offset;

before(async () => {
  await Promise.all([spans(), lines(), metrics()]);
  for (const path of ["/" + encodeURIComponent(evil), "/api/leads/" + encodeURIComponent(evil) + "?q=" + encodeURIComponent(evil)]) await fetch(gateway + path, { headers: { "User-Agent": "x'\"><script>window.hacked=4</script>" } });
  offset = (await publish()).events[0].offset;
  await publish({ "Atoll-Deliver-At": new Date(Date.now() + 3600e3).toISOString() });
  const goods = { sku: evil.slice(0, 190), name: evil.slice(0, 190), quantity: 1, unit_price: 1, kind: "goods" };
  saga = (await post("/v1/sagas/order-to-cash/instances", { key: hex(4) + evil, by: evil, input: { order: short + hex(2), customer: evil.slice(0, 190), currency: "EUR", lines: [goods] } })).id;
  await post(`/v1/saga-instances/${encodeURIComponent(saga)}/actions`, { action: "cancel", by: evil, reason: long }).catch((e) => assert.match(e.message, /409|422/)); // it may have ended by itself
  await post("/v1/silences", { matchers: ["service=" + evil, "alert=none"], for: "5m", by: evil, comment: evil + "W".repeat(700) });
  webhook = (await post("/v1/webhooks", { name: short, url: "https://partner.example/" + encodeURIComponent(evil), topics: ["tracking.purge"], filter: { source: evil } })).id;
});

after(async () => {
  if (webhook) await api("/v1/webhooks/" + webhook, { method: "DELETE" });
});

/** harmless asserts that nothing of it ran or became an element, and that nothing sticks out, in both widths. */
async function harmless(page, what = page.url()) {
  for (const width of [1280, 390]) {
    await page.setViewportSize({ width, height: 800 });
    await page.waitForTimeout(250);
    const found = await page.evaluate(() => ({
      hacked: window.hacked,
      elements: [...document.querySelectorAll("img, iframe, object, embed, body script, body style, svg[onload], [onerror], base")].map((e) => e.outerHTML.slice(0, 200)),
      wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      out: [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll,.map-box,pre,svg,.virtual,[hidden],details:not([open]) > div")).slice(0, 3).map((e) => e.tagName + "." + e.className),
    }));
    assert.equal(found.hacked, undefined, `a script ran at ${what}`);
    assert.deepEqual(found.elements, [], what);
    assert.ok(found.wide <= 0, `${found.wide} pixels too wide at ${width}: ${found.out.join(" ")} at ${what}`);
  }
  // What the API refuses is not a fault of the page; a broken rule of the CSP, or an error of a script, is.
  assert.deepEqual(page.troubles.filter((t) => !/^Failed to load resource: the server responded with a status of 4\d\d/.test(t)), [], what);
  assert.deepEqual(page.outside, [], what);
}

/** shows opens a screen, waits until the text is in it, as text, and looks whether that did harm. */
async function shows(path, where = "main") {
  const page = await open(path);
  try {
    await page.locator(where).filter({ hasText: mark }).first().waitFor({ state: "attached" });
    await harmless(page, path);
  } finally {
    await page.context().close();
  }
}

test("spans: a trace, each of its spans, its search", async () => {
  const { spans } = await api("/v1/traces/" + trace);
  await shows("/trace/" + trace, '[role="treegrid"]');
  for (const s of spans) await shows(`/trace/${trace}?s=${s.span_id}`, 'aside[aria-label="Span"]');
  await shows(address("/trace/" + trace, { find: evil }), '[role="treegrid"] .hit');
  await shows(`/compare/${trace}/${trace}`, 'table[aria-label="Spans of both traces"]');
});

test("spans: the list, a table, a region and what is different in it", async () => {
  const ends = { t: `${new Date(Date.now() - 120_000).toISOString()}~${new Date().toISOString()}` };
  await shows(address("/traces", { of: "spans", errors: "1", ...ends }), 'table[aria-label="Traces"]');
  await shows(address("/traces", { q: "status = error | count() by service, name", of: "spans", ...ends }), 'table[aria-label="Table"]');
  const [from, to] = ends.t.split("~");
  const page = await open(address("/traces", { of: "spans", r: `${from}~${to}~250000000~0`, ...ends }));
  await page.waitForSelector(".tr-field, .card .state");
  await harmless(page, "a region");
});

test("lines: search, facets, detail, tail", async () => {
  await shows("/logs?level=error&t=5m", ".logs-lines");
  const { records } = await api(address("/v1/records", { query: `trace = ${trace}`, limit: 10 }));
  for (const r of records.filter((r) => r.service === evil)) await shows(address("/logs", { t: "5m", line: `${r.time}~${r.service}~${r.replica ?? ""}` }), ".logs-whole");
  const page = await open("/logs?live=1");
  await page.waitForSelector(".logs-tail");
  await lines();
  await page.locator(".logs-tail .logs-row").filter({ hasText: mark }).first().waitFor();
  await harmless(page, "the tail");
});

test("metrics: values, the plot, the panels", async () => {
  await until("they are kept", async () => (await api(address("/prometheus/api/v1/query", { query: "hostile_things" }))).data.result.length > 0);
  await shows(address("/metrics", { e: JSON.stringify(["hostile_things"]), t: "5m" }), 'table[aria-label="Values now"]');
  const page = await open(address("/metrics", { service: evil, t: "5m" }));
  await page.waitForSelector(".card");
  await harmless(page, "panels");
});

test("home: its list and its map", async () => {
  const page = await open("/?view=map&t=5m");
  await page.waitForSelector(".map-node");
  await harmless(page, "the map");
  await shows(address("/", { find: evil }), ".home-services");
});

test("events: stored, delayed, webhooks", async () => {
  await shows("/events?tab=events&topic=tracking.purge", 'table[aria-label="Stored events, the newest first"]');
  await shows(`/events?tab=events&offset=${offset}`, "dialog");
  const delayed = await open("/events?tab=delayed");
  await delayed.waitForSelector('table[aria-label="Delayed events"]');
  await harmless(delayed, "delayed events");
  const page = await open(address("/events", { tab: "webhooks", hook: webhook }));
  await page.locator("dialog").filter({ hasText: "<img" }).waitFor();
  await harmless(page, "a webhook");
});

test("sagas: the instance with its input and the reason of an action, the list", async () => {
  await shows("/saga/" + encodeURIComponent(saga), 'section:has(h2:text-is("Input"))');
  const page = await open("/sagas");
  await page.locator('table[aria-label="Instances"]').filter({ hasText: "<img" }).waitFor();
  await harmless(page, "sagas");
});

test("alerts: a silence and the history of it", async () => {
  await shows("/alerts?tab=silences", 'table[aria-label="Silences"]');
  await shows("/alerts?tab=history", 'table[aria-label="History, the newest first"]');
});

test("every address may hold anything", async () => {
  const e = encodeURIComponent(evil);
  for (const path of [
    `/service/${e}`,
    `/trace/${e}`,
    `/compare/${e}/${e}`,
    `/saga/${e}`,
    `/${e}`,
    "/service/100%25",
    "/service/%25zz",
    "/service/..%2f..%2fv1%2fapp",
    address("/", { find: long, view: evil, sort: evil, t: evil }),
    address("/traces", { q: long, t: evil, r: `${evil}~${evil}~${evil}~${evil}`, pick: evil, of: evil, n: evil, was: evil }),
    address("/traces", { q: "service = a?b&c=d" }),
    address("/trace/" + trace, { s: evil, w: evil, find: long }),
    address("/logs", { q: evil, service: evil, level: evil, line: `${evil}~${evil}~${evil}`, t: `${evil}~${evil}` }),
    address("/logs", { q: `"${"W".repeat(5000)}"`, service: long }),
    address("/metrics", { e: evil }),
    address("/metrics", { e: JSON.stringify([evil, long, 7, null]) }),
    address("/metrics", { service: long }),
    address("/alerts", { tab: "rules", rule: evil }),
    address("/alerts", { tab: evil }),
    address("/events", { tab: "events", topic: evil, type: long, key: evil, offset: evil }),
    address("/events", { tab: "dead", subscription: evil, topic: evil, offset: evil }),
    address("/events", { tab: "webhooks", hook: evil }),
    address("/sagas", { saga: evil, state: evil, key: long, error: evil, step: evil }),
    address("/saga/" + encodeURIComponent(saga), { step: evil }),
    address("/service/leads", { tab: "contract", op: evil }),
    address("/service/leads", { tab: evil }),
    address("/gateway", { sort: evil }),
    `/#login=${e}`,
  ]) {
    const page = await open(path);
    await page.waitForSelector("main h1, main .state");
    await page.waitForTimeout(500);
    assert.doesNotMatch(await page.innerText("main"), /could not be loaded/, path);
    await harmless(page, path.slice(0, 120));
    await page.context().close();
  }
});

test("what is typed into a field stays text", async () => {
  for (const [path, field, enter] of [
    ["/", 'input[aria-label="Filter services"]', false],
    ["/traces", 'input[aria-label="Query"]', true],
    ["/logs", 'input[aria-label="Query"]', true],
    ["/metrics", 'input[aria-label="Query A"]', true],
    ["/trace/" + trace, "#tc-find", true],
    ["/events?tab=events", 'input[aria-label="Key"]', true],
    ["/events?tab=events", 'input[aria-label="Topic, or a pattern"]', true],
  ]) {
    for (const value of [evil, long]) {
      const page = await open(path);
      await page.fill(field, value);
      await page.waitForTimeout(300);
      if (enter) await page.press(field, "Enter");
      await page.waitForTimeout(500);
      await harmless(page, `${path} ${field}`);
      await page.context().close();
    }
  }
  const page = await open("/");
  await page.waitForSelector("main h1");
  await page.keyboard.press("Control+k");
  await page.fill('input[aria-label="Jump to"]', evil.replaceAll(" ", ""));
  await page.locator('[role="listbox"] [role="option"]').filter({ hasText: mark.replaceAll(" ", "") }).waitFor();
  await harmless(page, "the jump");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/saga\//);
  await page.waitForSelector("text=There is no such instance");
  await harmless(page, "a saga that is not there");
});

// What follows makes hostile every text of every answer. Words that choose a look, times, and what is a path or an address stay as they are.
const tail = evil + "W".repeat(600);
const words = new Set(["state", "level", "kind", "status", "role", "resultType", "severity", "mode", "protocol", "openapi", "type", "in", "get", "unit", "span_id", "trace_id", "parent_id", "traceparent", "data_base64", "url", "upstream", "gateway", "console", "method", "source"]);

function spoil(value, key = "") {
  if (typeof value === "string") return words.has(key) || /^\d{4}-\d\d-\d\dT/.test(value) || /^[-+]?[\d.]+(e[-+]?\d+)?$|^(NaN|[+-]Inf)$/.test(value) ? value : value + tail;
  if (Array.isArray(value)) return value.map((v) => (key === "values" || key === "value" ? v : spoil(v, key === "rows" ? "" : key)));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [["attributes", "resource", "labels", "metric", "env", "headers", "filter"].includes(key) ? k + (key === "metric" ? "" : tail) : k, spoil(v, k)]));
  return value;
}

/** clean takes out of a question what spoil has put into the answer before. */
const clean = (text) => [tail, JSON.stringify(tail).slice(1, -1), tail.replace(/["\\]/g, "\\$&")].reduce((t, s) => t.replaceAll(s, ""), text);

/** asked is the path of a question, as the API can answer it. */
function asked(url) {
  const u = new URL(url, gateway);
  const path = clean(decodeURIComponent(u.pathname)).split("/").map(encodeURIComponent).join("/");
  const params = new URLSearchParams([...u.searchParams].map(([k, v]) => [k, clean(v)]));
  return path + "?" + params;
}

const moment = (text) => text.replace(/\{now(?:-(\d+)([smh]))?\}/g, (_, n = 0, unit = "s") => new Date(Date.now() - n * { s: 1e3, m: 60e3, h: 3600e3 }[unit]).toISOString());
const events = (list) => list.map((e) => `data: ${JSON.stringify(e)}\n\n`).join("");

/** spoiled answers as the API does, but for the texts. */
async function spoiled(route) {
  const request = route.request();
  const url = new URL(request.url());
  const say = (status, contentType, body) => route.fulfill({ status, contentType, body });
  const follows = url.searchParams.has("follow");
  try {
    if (url.pathname === "/v1/watch") {
      const list = await Promise.all(
        url.searchParams.getAll("get").map(async (get) => {
          const body = await api(asked(moment(get.replace(/^\S+ /, "")))).catch(() => ({ detail: tail, remedy: tail, code: "none" }));
          return { get, status: body.code === "none" ? 404 : 200, body: spoil(body) };
        }),
      );
      return await say(200, "text/event-stream", events(list));
    }
    if (follows) {
      url.searchParams.delete("follow");
      const answer = await fetch(process.env.CONTROL + asked(url.pathname + url.search), { headers: { Authorization: "Bearer " + process.env.TOKEN } });
      const list = (await answer.text()).split("\n").filter(Boolean).slice(-50).map((l) => spoil(JSON.parse(l)));
      return await say(200, "text/event-stream", events(list));
    }
    const body = await api(asked(url.pathname + url.search), { method: request.method(), body: request.postData() ?? undefined });
    await say(200, "application/json", JSON.stringify(spoil(body)));
  } catch (e) {
    await say(404, "application/json", JSON.stringify({ detail: tail + e.message.slice(0, 200), remedy: tail, code: "none" })).catch(() => undefined); // the page may be gone
  }
}

const letter = (text) => ({ offset: 7, subscription: "crm/deal.changed", topic: "deal.changed", origin: 3, stored: new Date().toISOString(), died: new Date().toISOString(), cause: text, failed: 3, attempts: [{ time: new Date().toISOString(), took_ms: 3, status: 500, text, replica: text }], event: { id: text, source: text, type: text, data: { text } } });

/** spoiledScreens opens screens with spoiled answers. Some of them ask on with what they were given, and then have nothing to show: of most the
    text is seen. */
async function spoiledScreens(paths) {
  const silent = [];
  for (const [path] of paths) {
    const page = await open("/check");
    await page.context().route(/\/(v1|prometheus)\//, spoiled);
    await page.context().route(/\/v1\/bus\/dead\/\d+/, (r) => r.fulfill({ json: letter(tail) }));
    await page.goto(new URL(path, page.url()).href);
    await page.waitForSelector("main h1, main .state", { state: "attached" });
    const seen = await page.locator("main, dialog").filter({ hasText: mark }).first().waitFor({ state: "attached", timeout: 8_000 }).then(() => true, () => false);
    if (!seen) silent.push(path);
    await page.waitForTimeout(700);
    await harmless(page, "spoiled " + path);
    await page.context().close();
  }
  assert.ok(silent.length <= paths.length / 3, `the text was not seen on ${silent.join(", ")}`);
}

test("nothing in an answer is more than text: services, traces, logs and metrics", async () => {
  const { spans } = await api("/v1/traces/" + trace);
  await spoiledScreens([
    ["/", 'table[aria-label="Services"]'],
    ["/service/leads", 'table[aria-label="Replicas"]'],
    ["/service/crm?tab=contract", ".contract-op"],
    ["/service/leads?tab=environment", 'table[aria-label="Environment"]'],
    ["/service/leads?tab=events"],
    ["/traces?t=60m&of=spans", 'table[aria-label="Traces"]'],
    [`/trace/${trace}?s=${spans[0].span_id}`, 'aside[aria-label="Span"]'],
    [`/compare/${trace}/${trace}`, ".cp-side"],
    ["/logs?t=60m", ".logs-lines .logs-row"],
    ["/logs?live=1", ".logs-tail .logs-row"],
    [address("/metrics", { e: JSON.stringify(["process_resident_memory_bytes"]) }), 'table[aria-label="Values now"]'],
    ["/metrics?service=orders"],
  ]);
});

test("nothing in an answer is more than text: events, sagas, alerts, the application", async () => {
  await spoiledScreens([
    ["/events", 'table[aria-label="Topics"]'],
    ["/events?tab=subscriptions", 'table[aria-label="Subscriptions"]'],
    ["/events?tab=dead&offset=7", "dialog"],
    ["/events?tab=delayed", 'table[aria-label="Delayed events"]'],
    ["/events?tab=webhooks", 'table[aria-label="Webhooks"]'],
    [`/events?tab=events&offset=${offset}`, "dialog"],
    ["/sagas", 'table[aria-label="Instances"]'],
    ["/saga/" + encodeURIComponent(saga), 'table[aria-label="Timeline"]'],
    ["/alerts"],
    ["/alerts?tab=rules", 'table[aria-label="Rules"]'],
    ["/alerts?tab=silences", 'table[aria-label="Silences"]'],
    ["/alerts?tab=history", 'table[aria-label="History, the newest first"]'],
    ["/alerts?tab=receivers"],
    ["/gateway", 'table[aria-label="Routes"]'],
    ["/catalogue", 'table[aria-label="Catalogue"]'],
  ]);
});
