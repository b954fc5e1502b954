// Measures the console for bench/console, which runs it: one JSON object a line, {"case", "metric", "value", "unit"}.
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { api, close, consoleURL, launch, open, until } from "./harness.mjs";

const rounds = Number(process.env.ROUNDS || 5);
const seconds = Number(process.env.SECONDS || 5);
const only = process.env.ONLY;
const profiles = process.env.PROFILES; // a folder for profiles of the main thread

const wait = (ms) => new Promise((r) => setTimeout(r, ms));
const median = (list) => list.slice().sort((a, b) => a - b)[Math.floor(list.length / 2)];
const say = (name, metric, value, unit) => console.log(JSON.stringify({ case: name, metric, value, unit }));

const session = await (await open("/")).context().storageState();

/** fresh is a page in a context of its own, so that nothing is cached, with a script that runs before all others. */
async function fresh(script, arg, state = session) {
  const context = await (await launch()).newContext({ viewport: { width: 1280, height: 800 }, storageState: state });
  const page = await context.newPage();
  if (script) await page.addInitScript(script, arg);
  return page;
}

/** gaps are the times between the frames that the page is given, in milliseconds. With step the page is scrolled in each. */
const gaps = ([ms, selector, step]) =>
  new Promise((done) => {
    const box = selector ? document.querySelector(selector) : document.scrollingElement;
    const list = [];
    let begin;
    let last;
    let by = step;
    const frame = (now) => {
      begin ??= now;
      if (last !== undefined) list.push(now - last);
      last = now;
      if (by) {
        if (box.scrollTop + box.clientHeight >= box.scrollHeight - 1) by = -step;
        else if (box.scrollTop <= 0) by = step;
        box.scrollTop += by;
      }
      if (now - begin < ms) requestAnimationFrame(frame);
      else done({ list, scrolls: box.scrollHeight > box.clientHeight });
    };
    requestAnimationFrame(frame);
  });

const kinds = [
  ["TaskDuration", "main thread, processor time"],
  ["ScriptDuration", "of it scripts"],
  ["RecalcStyleDuration", "of it styles"],
  ["LayoutDuration", "of it layout"],
];

/** frames watches a page for a while: how even its frames come, and how busy its main thread is. */
async function frames(page, name, selector, step) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Performance.enable", { timeDomain: "threadTicks" });
  if (profiles) {
    await cdp.send("Profiler.enable");
    await cdp.send("Profiler.start");
  }
  const read = async () => Object.fromEntries((await cdp.send("Performance.getMetrics")).metrics.map((m) => [m.name, m.value]));
  const before = await read();
  const begin = performance.now();
  const { list, scrolls } = await page.evaluate(gaps, [seconds * 1000, selector, step]);
  const took = (performance.now() - begin) / 1000;
  const now = await read();
  if (step && !scrolls) throw new Error(`${name}: there is nothing to scroll`);
  if (profiles) writeFileSync(`${profiles}/${name.replace(/\W+/g, "-")}.cpuprofile`, JSON.stringify((await cdp.send("Profiler.stop")).profile));
  await cdp.detach();
  list.sort((a, b) => a - b);
  return { p50: list[Math.floor(list.length / 2)], p99: list[Math.floor(list.length * 0.99)], worst: list.at(-1), over: (100 * list.filter((g) => g > 50).length) / list.length, busy: kinds.map(([key]) => (100 * (now[key] - before[key])) / took) };
}

function tell(name, all) {
  const of = (pick) => median(all.map(pick));
  say(name, "frame gap, p50", of((f) => f.p50), "ms");
  say(name, "frame gap, p99", of((f) => f.p99), "ms");
  say(name, "frame gap, worst", of((f) => f.worst), "ms");
  say(name, "frame gaps over 50 ms", of((f) => f.over), "%");
  kinds.forEach(([, what], i) => say(name, what, of((f) => f.busy[i]), "%"));
}

async function firstLoad() {
  /** ready notes when the services are shown and a key does what it is for. */
  const ready = () => {
    const look = () => {
      const field = document.querySelector('input[aria-label="Filter services"]');
      if (document.querySelector('table[aria-label="Services"] tbody tr') && field) {
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "/", bubbles: true, cancelable: true }));
        if (document.activeElement === field) {
          window.interactive = performance.now();
          return;
        }
      }
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  };
  const times = [];
  let size;
  for (let i = 0; i < rounds; i++) {
    const page = await fresh(ready);
    await page.goto(consoleURL + "/");
    await page.waitForFunction(() => window.interactive !== undefined);
    times.push((await page.evaluate(() => window.interactive)) / 1000);
    await page.waitForTimeout(500);
    size = await page.evaluate(() =>
      [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].filter((e) => !/\/(v1|prometheus)\//.test(e.name)).reduce((n, e) => n + e.encodedBodySize, 0),
    );
    await page.context().close();
  }
  say("first load of home", "transferred, gzip", size / 1000, "KB");
  say("first load of home", "services shown and a key works", median(times), "s");
}

const count = 300;

/** many stands before the console, and answers for an application of many services whose numbers change each second. */
async function many() {
  const [top, { services }] = await Promise.all([api("/v1/top"), api("/v1/services")]);
  const name = (i) => `service-${String(i).padStart(3, "0")}`;
  const numbers = [...Array(count).keys()];
  const rates = (now) => ({ status: "success", data: { resultType: "matrix", result: numbers.map((i) => ({ metric: { service: name(i) }, values: Array.from({ length: 61 }, (_, k) => [now - (60 - k) * 15, String(Math.random() * 40)]) })) } });
  const make = {
    "/v1/top": () => ({ ...top, time: new Date().toISOString(), services: numbers.map((i) => ({ ...top.services[i % top.services.length], service: name(i), state: "ready", ready: 1, replicas: 1, per_second: Math.random() * 40, error_ratio: i % 9 ? 0 : Math.random() / 20, p99_ns: Math.random() * 2e8, cpu: Math.random(), memory_bytes: Math.random() * 4e7 })) }),
    "/v1/services": () => ({ services: numbers.map((i) => ({ ...services[i % services.length], service: name(i) })) }),
    "/prometheus/api/v1/query_range": () => rates(Math.floor(Date.now() / 15_000) * 15),
    "/v1/records": () => ({ table: { columns: [{ name: "service", role: "group" }, { name: "count", role: "value" }], rows: numbers.filter((i) => i % 5 === 0).map((i) => [name(i), i]) }, reach: {} }),
  };
  const server = createServer((req, res) => {
    const url = new URL(req.url, consoleURL);
    if (url.pathname !== "/v1/watch") {
      const { origin: _, ...headers } = req.headers; // it is another one than the console's
      const on = request(consoleURL + req.url, { method: req.method, headers: { ...headers, host: new URL(consoleURL).host } }, (got) => {
        res.writeHead(got.statusCode, got.headers);
        got.pipe(res);
      });
      return req.pipe(on);
    }
    res.writeHead(200, { "Content-Type": "text/event-stream" });
    for (const get of url.searchParams.getAll("get")) {
      const path = get.replace(/^\S+ /, "");
      const made = make[path.split("?")[0]];
      const answer = async () => res.write(`data: ${JSON.stringify({ get, status: 200, body: made ? made() : await api(path.replace(/\{[^}]*\}/g, new Date().toISOString())) })}\n\n`);
      answer();
      if (!made) continue;
      const timer = setInterval(answer, path === "/v1/top" ? 1000 : (parseInt(get) || 1) * 1000);
      res.on("close", () => clearInterval(timer));
    }
  }).listen(0, "127.0.0.1");
  await new Promise((r) => server.once("listening", r));
  return server;
}

async function list() {
  const server = await many();
  const at = `http://127.0.0.1:${server.address().port}`;
  const updates = [];
  const scrolls = [];
  for (let i = 0; i < rounds; i++) {
    const page = await fresh(undefined, undefined, { cookies: [], origins: [{ origin: at, localStorage: session.origins[0].localStorage }] });
    await page.goto(at + "/");
    await until("all are shown", async () => (await page.locator('table[aria-label="Services"] tbody tr').count()) === count);
    await wait(2000);
    updates.push(await frames(page, "list, updated"));
    scrolls.push(await frames(page, "list, scrolled", undefined, 40));
    await page.context().close();
  }
  server.closeAllConnections();
  server.close();
  tell(`list of ${count} services, changed each second`, updates);
  tell("the same while it is scrolled", scrolls);
}

const nano = (ms) => String(BigInt(Math.round(ms * 1000)) * 1000n);
const attribute = (key, stringValue) => ({ key, value: { stringValue } });
const resource = (service) => ({ attributes: [attribute("service.name", service), attribute("service.instance.id", service + "-1")] });

async function otlp(signal, body) {
  const { otlp_http: at } = await api("/v1/telemetry");
  const answer = await fetch(`${at.startsWith("http") ? at : "http://" + at}/v1/${signal}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${signal}: ${answer.status} ${await answer.text()}`);
}

/** write writes lines, as a busy application does, until it is ended. */
function write(perSecond) {
  const services = ["orders", "billing", "shipping", "crm", "leads"];
  let n = 0;
  const begin = Date.now();
  const timer = setInterval(() => {
    const logRecords = [];
    for (const due = ((Date.now() - begin) / 1000) * perSecond; n < due; n++) {
      const body = n % 3 ? JSON.stringify({ msg: "request", method: "GET", path: `/orders/${n}`, status: 200, duration_ms: n % 40, user: "u" + (n % 500) }) : `order ${n} was taken by worker ${n % 16}, and is on its way`;
      logRecords.push({ timeUnixNano: nano(Date.now()), severityNumber: n % 50 ? 9 : 17, body: { stringValue: body }, attributes: [attribute("order.id", String(n))] });
    }
    const each = Math.ceil(logRecords.length / services.length);
    otlp("logs", { resourceLogs: services.map((s, i) => ({ resource: resource(s), scopeLogs: [{ logRecords: logRecords.slice(i * each, (i + 1) * each) }] })) }).catch((e) => console.error(String(e)));
  }, 100);
  return () => clearInterval(timer);
}

async function tail() {
  const end = write(1000);
  const all = [];
  const rates = [];
  for (let i = 0; i < rounds; i++) {
    const page = await fresh();
    await page.goto(consoleURL + "/logs?live=1");
    await page.waitForSelector(".logs-tail .logs-row");
    await wait(3000);
    all.push(await frames(page, "tail"));
    await wait(1000);
    rates.push(parseFloat((await page.innerText(".logs-rate")).replace(/,/g, "")));
    if (await page.locator(".logs-bar >> text=missed").count()) console.error("lines were missed: " + (await page.innerText(".logs-bar")));
    await page.context().close();
  }
  end();
  say("tail, 1,000 lines/s over OTLP", "shown", median(rates), "lines/s");
  tell("tail, 1,000 lines/s over OTLP", all);
}

const size = 10_000;

/** large is the id of a trace of so many spans: a tree of requests, each of which makes nine. */
async function large() {
  const traceId = randomBytes(16).toString("hex");
  const ids = Array.from({ length: size }, () => randomBytes(8).toString("hex"));
  const begin = Date.now() - 30_000;
  for (let from = 0; from < size; from += 1000) {
    const services = new Map();
    for (let i = from; i < from + 1000; i++) {
      const parent = Math.floor((i - 1) / 9);
      const service = "part-" + ((i * 7) % 23);
      const at = begin + i;
      const span = { traceId, spanId: ids[i], parentSpanId: i ? ids[parent] : "", name: `GET /things/${i % 40}`, kind: 2, startTimeUnixNano: nano(at), endTimeUnixNano: nano(at + Math.max(5, (size - i) / (1 + (i % 5)))), status: { code: i % 97 ? 0 : 2 }, attributes: [attribute("http.route", "/things/*"), attribute("order.id", String(i)), attribute("user.id", "u" + (i % 100))] };
      services.set(service, [...(services.get(service) ?? []), span]);
    }
    await otlp("traces", { resourceSpans: [...services].map(([s, spans]) => ({ resource: resource(s), scopeSpans: [{ spans }] })) });
  }
  await until("the trace is kept", async () => (await api("/v1/traces/" + traceId)).spans.length === size, 60_000);
  return traceId;
}

async function trace() {
  const id = await large();
  const shown = (n) => {
    const look = () => {
      if (document.querySelector(`[role="treegrid"][aria-rowcount="${n}"] [role="row"]`)) window.shown = performance.now();
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  };
  const times = [];
  const all = [];
  for (let i = 0; i < rounds; i++) {
    const page = await fresh(shown, size);
    await page.goto(consoleURL + "/trace/" + id);
    await page.waitForFunction(() => window.shown !== undefined);
    times.push((await page.evaluate(() => window.shown)) / 1000);
    await wait(1000);
    all.push(await frames(page, "trace, scrolled", '[role="treegrid"]', 130));
    await page.context().close();
  }
  say("trace of 10,000 spans", "shown, from the navigation on", median(times), "s");
  tell("trace of 10,000 spans, scrolled", all);
}

for (const [name, run] of Object.entries({ firstLoad, list, tail, trace })) if (!only || only === name) await run();
await close();
