// Traces, a trace, two compared, and metrics.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { api, close, everyLook, open, prom, rows, until, consoleURL } from "./harness.mjs";

after(close);

/** past is the last hour but for the last moments, of which something may still come in. */
const past = () => {
  const to = new Date(Date.now() - 15_000);
  const from = new Date(+to - 3600e3);
  return { from: from.toISOString(), to: to.toISOString(), t: `${from.toISOString()}~${to.toISOString()}` };
};

const address = (path, params) => path + "?" + new URLSearchParams(params);
const ask = (path, params) => api(address(path, params));

/** number reads 1,234 and 12.3 k. */
const number = (text) => {
  const m = /([\d.,]+)\s*([kM]?)/.exec(text);
  return Number(m[1].replace(/,/g, "")) * { "": 1, k: 1e3, M: 1e6 }[m[2]];
};
/** told is a number as far as number can read it back. */
const told = (n) => (n < 10_000 ? n : Number(n.toPrecision(3)));

/** listed are the ids of the traces in the list. */
const listed = (page) => page.locator('table[aria-label="Traces"] a.cut').evaluateAll((l) => l.map((a) => new URL(a.href).pathname.split("/")[2]));

/** rich is the id of a trace with many spans, more than one service and an answer of each of them. */
async function rich() {
  const { traces } = await ask("/v1/traces", { query: "service = orders and kind = server", limit: 200 });
  return traces.sort((a, b) => b.spans - a.spans)[0].trace_id;
}

test("the list has the traces that the API finds, with their services, spans and errors", async () => {
  const range = past();
  const query = "service = billing and kind = server";
  const page = await open(address("/traces", { q: query, of: "spans", t: range.t }));
  const { traces } = await ask("/v1/traces", { query, from: range.from, to: range.to, limit: 50 });
  assert.ok(traces.length > 5, "the demo orders something");
  await until("all of them are listed", async () => (await listed(page)).length === traces.length);
  assert.deepEqual(await listed(page), traces.map((t) => t.trace_id));
  const shown = await rows(page, "Traces");
  traces.forEach((t, i) => {
    assert.ok(shown[i][2].startsWith(`${t.service} ${t.name}`), shown[i][2]);
    assert.equal(number(shown[i][5]), told(t.spans));
    assert.equal(number(shown[i][6]), told(t.errors));
  });
  const dots = await page.locator('table[aria-label="Traces"] tbody tr').first().locator(".tr-dots").getAttribute("aria-label");
  assert.deepEqual(dots.split(", "), traces[0].services);
});

test("the heat map has as many spans as the API counts, of whole requests, of all spans, and of those that failed", async () => {
  const range = past();
  const page = await open(address("/traces", { q: "service = orders", t: range.t }));
  for (const [press, query] of [
    [undefined, "service = orders"],
    ["Whole requests", "service = orders and not has parent"],
    ["All spans", "service = orders"],
    ["Only with errors", "service = orders and status = error"],
  ]) {
    if (press) await page.locator(".tr-bar").getByText(press).click();
    const { table } = await ask("/v1/traces", { query: query + " | count()", from: range.from, to: range.to });
    const n = Number(table.rows[0]?.[0] ?? 0);
    await until(`${query}: ${n}`, async () => number(await page.innerText(".tr-bar [role=status]")) === told(n));
    if (n > 0) assert.match(await page.getAttribute(".heat-box", "aria-label"), /^Heat map of /);
  }
});

test("what a query with functions answers is shown as a table", async () => {
  const range = past();
  const query = 'service = orders and kind = server | count() by name';
  const page = await open(address("/traces", { q: query, t: range.t, of: "spans" }));
  const { table } = await ask("/v1/traces", { query, from: range.from, to: range.to });
  await until("all rows are there", async () => (await rows(page, "Table")).length === table.rows.length);
  const shown = await rows(page, "Table");
  assert.deepEqual(shown.map((r) => r[0]).sort(), table.rows.map((r) => r[0]).sort());
});

test("a query is written with the help of completions, and narrows the list", async () => {
  const range = past();
  const page = await open(address("/traces", { t: range.t }));
  await page.waitForSelector('table[aria-label="Traces"]');
  await page.keyboard.press("/");
  await page.keyboard.type("serv");
  await page.waitForSelector('.completions [role=option]:has-text("service")');
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Tab");
  assert.match(await page.inputValue('input[aria-label="Query"]'), /^service\b/);
  await page.fill('input[aria-label="Query"]', "service = bil");
  await page.waitForSelector('.completions [role=option]:has-text("billing")');
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  assert.match(await page.inputValue('input[aria-label="Query"]'), /^service = "?billing"?\s*$/);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Enter");
  await page.waitForURL(/q=service/);
  await until("only traces through billing are listed", async () => {
    const dots = await page.locator('table[aria-label="Traces"] .tr-dots').evaluateAll((l) => l.map((d) => d.getAttribute("aria-label")));
    return dots.length > 0 && dots.every((d) => d.split(", ").includes("billing"));
  });
});

test("an error of a query stands below the column that it is about", async () => {
  const page = await open("/traces");
  const query = "service = orders and duration > soon";
  const problem = await api(address("/v1/traces", { query })).then(() => assert.fail("it is no query"), (e) => JSON.parse(/\d{3} (\{.*\})/s.exec(e.message)[1]));
  assert.ok(problem.column > 1);
  await page.fill('input[aria-label="Query"]', query);
  await page.keyboard.press("Enter");
  await page.waitForSelector(".query-error");
  const [text, mark] = (await page.locator(".query-error pre").textContent()).split("\n");
  assert.equal(text, query);
  assert.equal(mark.indexOf("^") + 1, problem.column);
  assert.ok((await page.innerText(".query-error")).includes(problem.detail));
});

/** dragged opens the traces and draws over all that took longer than most. */
async function dragged() {
  const range = past();
  const page = await open("/", { height: 1400 });
  const asked = page.waitForResponse((r) => r.url().includes("/v1/heatmap"));
  await page.goto(consoleURL + address("/traces", { of: "spans", t: range.t }));
  const heat = await (await asked).json();
  await page.waitForSelector(".heat-box canvas");
  await page.waitForSelector('table[aria-label="Traces"]'); // nothing moves any more
  const box = await page.locator(".heat-box").boundingBox();
  const rows = heat.edges_ns.length - 1;
  const all = heat.cells.reduce((n, c) => n + c[2], 0);
  let row = rows;
  for (let above = 0; row > 1 && above < all / 20; ) {
    row--;
    for (const c of heat.cells) if (c[1] === row) above += c[2];
  }
  const h = (box.height - 20) / rows;
  const y = box.y + (rows - row) * h - h / 2;
  const difference = page.waitForResponse((r) => r.url().includes("/v1/difference"));
  await page.mouse.move(box.x + 62, y);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2, box.y + 30, { steps: 4 });
  await page.mouse.move(box.x + box.width - 2, box.y + 2, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/[?&]r=/);
  return { page, heat, edge: heat.edges_ns[row], difference: await (await difference).json() };
}

test("a region that is drawn over the heat map tells what is different in it, and a click on a value narrows the query", async () => {
  const { page, heat, edge, difference } = await dragged();
  const r = new URL(page.url()).searchParams.get("r").split("~");
  assert.equal(Number(r[2]), edge, "the region begins where the drag did");
  assert.ok(difference.inside > 0 && difference.outside > 0);
  assert.equal(difference.inside + difference.outside, difference.looked, "inside and outside are all that was looked at");
  const { table } = await ask("/v1/traces", { query: `duration >= ${edge}ns | count()`, from: heat.from, to: heat.to });
  assert.equal(difference.inside, table.rows[0][0]);
  await page.waitForSelector(".tr-field");
  const fields = await page.locator(".tr-field h3 code").allInnerTexts();
  assert.deepEqual(fields, difference.fields.slice(0, 6).map((f) => f.field));
  assert.match(await page.innerText(".tr-field >> nth=0"), /\d %/);
  const value = page.locator(".tr-value:not([disabled])").first();
  const filter = (await value.getAttribute("title")).replace(/^Add /, "");
  await value.click();
  await page.waitForURL((u) => u.searchParams.get("q") === filter);
  const narrowed = await ask("/v1/traces", { query: filter + " | count()", from: heat.from, to: heat.to });
  await until("the heat map is narrowed", async () => number(await page.innerText(".tr-bar [role=status]")) === told(narrowed.table.rows[0][0]));
  await page.click("text=Clear the region");
  await page.waitForURL((u) => !u.searchParams.has("r"));
});

test("a region is drawn by keys alone", async () => {
  const range = past();
  const page = await open(address("/traces", { of: "spans", t: range.t }));
  await page.waitForSelector(".heat-box canvas");
  await page.focus(".heat-box");
  await page.keyboard.press("ArrowUp");
  for (let i = 0; i < 3; i++) await page.keyboard.press("Shift+ArrowRight");
  await page.keyboard.press("Enter");
  await page.waitForURL(/[?&]r=/);
  await page.waitForSelector("h2:has-text('What is different')");
  await page.focus(".heat-box");
  await page.keyboard.press("Escape");
  await page.waitForURL((u) => !u.searchParams.has("r"));
});

test("two traces of the list are compared span by span", async () => {
  const range = past();
  const page = await open(address("/traces", { q: "service = orders and kind = server", of: "spans", t: range.t }));
  await page.waitForSelector('table[aria-label="Traces"]');
  const [one, two] = await listed(page);
  await page.locator('table[aria-label="Traces"] .tr-pick input').nth(0).check();
  await page.waitForSelector("text=Choose another trace");
  await page.locator('table[aria-label="Traces"] .tr-pick input').nth(1).check();
  await page.click(".tr-tools button:has-text('Compare')");
  await page.waitForURL(`**/compare/${one}/${two}*`);
  const [a, b] = await Promise.all([one, two].map((id) => api("/v1/traces/" + id)));
  await page.waitForSelector(".cp-side.b");
  assert.match(await page.innerText(".cp-side.a"), new RegExp(`\\b${a.spans.length} span`));
  assert.match(await page.innerText(".cp-side.b"), new RegExp(`\\b${b.spans.length} span`));
  const table = await rows(page, "Spans of both traces");
  const times = (text) => (text === "not there" ? 0 : Number(/^(\d+)×/.exec(text)?.[1] ?? 1));
  assert.equal(table.reduce((n, r) => n + times(r[1]), 0), a.spans.length, "each span of A is in one line");
  assert.equal(table.reduce((n, r) => n + times(r[2]), 0), b.spans.length, "each span of B is in one line");
  await page.click("text=Swap A and B");
  await page.waitForURL(`**/compare/${two}/${one}*`);
});

const grid = '[role="treegrid"]';
const rowCount = async (page) => Number(await page.getAttribute(grid, "aria-rowcount"));

test("the waterfall has every span of the trace, and folds by keys", async () => {
  const id = await rich();
  const { spans } = await api("/v1/traces/" + id);
  const page = await open("/trace/" + id);
  await page.waitForSelector(grid);
  assert.equal(await rowCount(page), spans.length);
  await page.focus(grid);
  await page.keyboard.press("Home");
  const seen = new Set();
  for (let i = 0; i < spans.length; i++) {
    const now = await page.getAttribute(grid, "aria-activedescendant");
    await page.waitForSelector("#" + now);
    seen.add(await page.innerText(`#${now} .tc-label`));
    await page.keyboard.press("ArrowDown");
    if (i + 1 < spans.length) await until("the next row", async () => (await page.getAttribute(grid, "aria-activedescendant")) !== now);
  }
  assert.deepEqual([...seen].sort(), [...new Set(spans.map((s) => `${s.service} ${s.name}`))].sort());
  const known = new Set(spans.map((s) => s.span_id));
  const roots = spans.filter((s) => !known.has(s.parent_id)).length;
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowLeft");
  await until("the root is folded", async () => (await rowCount(page)) < spans.length);
  if (roots === 1) assert.equal(await rowCount(page), 1);
  await page.keyboard.press("ArrowRight");
  await until("it is open again", async () => (await rowCount(page)) === spans.length);
});

test("a span opens with all that is known of it, by keys and by its address", async () => {
  const id = await rich();
  const { spans } = await api("/v1/traces/" + id);
  const page = await open("/trace/" + id);
  await page.waitForSelector(grid);
  await page.focus(grid);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.waitForURL(/[?&]s=/);
  const chosen = spans.find((s) => s.span_id === new URL(page.url()).searchParams.get("s"));
  const panel = page.locator('aside[aria-label="Span"]');
  await panel.waitFor();
  const attributes = await panel.locator("details[open] >> nth=0").locator("dt").allInnerTexts();
  assert.deepEqual(attributes, Object.keys(chosen.attributes).sort());
  assert.ok((await panel.innerText()).includes(chosen.span_id));
  await page.keyboard.press("Escape");
  await panel.waitFor({ state: "detached" });
  const last = spans.at(-1);
  const other = await open(`/trace/${id}?s=${last.span_id}`);
  await other.waitForSelector(`aside[aria-label="Span"] >> text=${last.span_id}`);
});

test("a search within a trace counts the spans that have the text", async () => {
  const id = await rich();
  const { spans } = await api("/v1/traces/" + id);
  const wanted = spans.find((s) => s.kind === "server" && s.parent_id) ?? spans[0];
  const page = await open("/trace/" + id);
  await page.waitForSelector(grid);
  await page.keyboard.press("/");
  await page.keyboard.type(wanted.span_id);
  await page.waitForSelector("text=1 span found");
  await page.keyboard.press("Enter");
  await page.waitForURL((u) => u.searchParams.get("s") === wanted.span_id);
});

test("the explorer answers with the present values of a PromQL query", async () => {
  const query = 'count by (service) (http_server_request_duration_seconds_count)';
  const page = await open("/metrics");
  await page.fill('input[aria-label="Query A"]', query);
  await page.keyboard.press("Enter");
  await page.waitForURL(/[?&]e=/);
  await page.waitForSelector(".uplot canvas");
  await until("the values are those of the API", async () => {
    const all = page.locator(".mt-all");
    if ((await all.count()) && /^All/.test(await all.innerText())) await all.click();
    const shown = (await rows(page, "Values now")).map((r) => r[0] + " " + r[1]).sort();
    const values = (await prom(query)).map((s) => `{service="${s.metric.service}"} ${s.value[1]}`).sort();
    assert.deepEqual(shown, values);
    return values.length > 3;
  });
});

test("PromQL is completed: metrics, labels and their values; what is wrong is said", async () => {
  const page = await open("/metrics");
  const field = 'input[aria-label="Query A"]';
  await page.fill(field, "");
  await page.locator(field).pressSequentially("http_server_request_dur");
  await page.waitForSelector('.completions [role=option]:has-text("http_server_request_duration_seconds_count")');
  await page.fill(field, "http_server_request_duration_seconds_count{serv");
  await page.waitForSelector('.completions [role=option]:has-text("service=")');
  await page.fill(field, 'http_server_request_duration_seconds_count{service="ord');
  await page.waitForSelector('.completions [role=option]:has-text("orders")');
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Tab");
  assert.equal(await page.inputValue(field), 'http_server_request_duration_seconds_count{service="orders');
  await page.fill(field, "sum by (service) (rate(");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".query-error strong");
});

test("the panels of a service are drawn", async () => {
  const page = await open("/metrics?service=orders&t=60m");
  await until("more than one plot", async () => (await page.locator(".uplot canvas").count()) > 1);
  assert.equal(await page.locator('nav[aria-label="Panels of a service"] [aria-current="page"]').innerText(), "orders");
});

test("traces are sound in every look", () => everyLook("/traces?t=60m", 'table[aria-label="Traces"]'));
test("a region and what is different in it are sound in every look", async () => {
  const { page } = await dragged();
  const { pathname, search } = new URL(page.url());
  await everyLook(pathname + search, ".tr-field");
});
test("a table of traces is sound in every look", () => everyLook(address("/traces", { q: "| count() by service every 5m", t: "60m", of: "spans" }), 'table[aria-label="Table"]'));
test("a trace is sound in every look", async () => everyLook("/trace/" + (await rich()), grid));
test("a span is sound in every look", async () => {
  const id = await rich();
  const { spans } = await api("/v1/traces/" + id);
  await everyLook(`/trace/${id}?s=${spans[1].span_id}`, 'aside[aria-label="Span"]');
});
test("two compared traces are sound in every look", async () => {
  const { traces } = await ask("/v1/traces", { query: "service = orders and kind = server", limit: 20 });
  await everyLook(`/compare/${traces[0].trace_id}/${traces.at(-1).trace_id}`, 'table[aria-label="Spans of both traces"]');
});
test("the explorer is sound in every look, empty and with an answer", async () => {
  await everyLook("/metrics", ".mt-examples");
  await everyLook(address("/metrics", { e: JSON.stringify(["sum by (service) (process_resident_memory_bytes)"]), t: "60m" }), ".uplot canvas");
});
test("the panels of a service are sound in every look", () => everyLook("/metrics?service=orders&t=60m", ".uplot canvas"));
