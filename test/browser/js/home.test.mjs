import assert from "node:assert/strict";
import { after, test } from "node:test";
import { api, atoll, close, everyLook, open, rows, until } from "./harness.mjs";

after(close);

test("home shows every service with its true state, owner, replicas and errors", async () => {
  const page = await open("/?t=60m");
  const { services } = await api("/v1/services");
  await until("all services are listed", async () => (await rows(page, "Services")).length === services.length);
  await until("what is shown is what the API says", async () => {
    const { table } = await api("/v1/records?query=" + encodeURIComponent("level >= error | count() by service") + "&from=" + new Date(Date.now() - 3600e3).toISOString());
    const shown = await rows(page, "Services");
    for (const s of services) {
      const row = shown.find((r) => r[0].startsWith(s.service));
      assert.match(row[0], new RegExp(s.summary.slice(0, 10)));
      assert.equal(row[1].replace("● ", ""), `ready ${s.running.length}/${s.replicas}`);
      assert.equal(row[2], s.owner);
      const errors = table.rows.find((r) => r[0] === s.service)?.[1] ?? 0;
      assert.equal(row[7].replace("✕ ", ""), String(errors), s.service);
    }
    return true;
  });
  assert.match(await page.innerText(".home-tiles"), new RegExp(`${services.length} of ${services.length}`));
});

test("what waits for a person is said at the top, with the way there", async () => {
  const page = await open("/");
  const { sagas } = await api("/v1/sagas");
  const parked = sagas.reduce((n, s) => n + (s.instances.parked ?? 0), 0);
  assert.ok(parked > 0, "the demo leaves one parked");
  await page.waitForSelector(`.home-ill >> text=${parked} saga`);
  await page.click(".home-ill >> text=Parked sagas");
  await page.waitForURL(/\/sagas\?.*state=parked/);
});

test("a crash is seen within seconds, in words, and so is its end", async () => {
  const page = await open("/");
  await page.waitForSelector('table[aria-label="Services"]');
  atoll("scale", "web=0");
  await until("the state changes", async () => (await rows(page, "Services")).some((r) => r[0].startsWith("web") && /0\/0/.test(r[1])));
  atoll("scale", "web=1");
  await until("it is back", async () => (await rows(page, "Services")).some((r) => r[0].startsWith("web") && r[1] === "● ready 1/1"));
});

/** altered changes what the stream of a page says of some paths; undefined is an error. */
async function altered(page, changes) {
  await page.route("**/v1/watch?*", async (route) => {
    const gets = new URL(route.request().url()).searchParams.getAll("get");
    const lines = await Promise.all(
      gets.map(async (get) => {
        const path = get.replace(/^\d+s /, "").replace(/%7Bnow(-(\d+)m)?%7D/g, (_, _m, m) => encodeURIComponent(new Date(Date.now() - (m ?? 0) * 60_000).toISOString()));
        const change = Object.entries(changes).find(([p]) => path === p);
        if (change && !change[1]) return { get, status: 500, body: { code: "internal", detail: "It broke.", remedy: "Look at the log." } };
        const body = await api(path);
        return { get, status: 200, body: change ? await change[1](body) : body };
      }),
    );
    await route.fulfill({ contentType: "text/event-stream", body: lines.map((l) => `data: ${JSON.stringify(l)}\n\n`).join("") });
  });
}

const quiet = { "/v1/alerts": (a) => ({ ...a, alerts: [] }), "/v1/bus": (b) => ({ ...b, dead: 0 }), "/v1/sagas": (s) => ({ sagas: s.sagas.map((x) => ({ ...x, instances: {} })) }), "/v1/findings": () => ({ findings: [] }), "/v1/top": (t) => ({ ...t, services: t.services.map((s) => ({ ...s, error_ratio: 0, state: "ready" })) }) };

test("all is well is said when everything was looked at, and not when one question failed", async () => {
  const page = await open("/catalogue");
  await altered(page, quiet);
  await page.click("nav >> text=Home");
  await page.waitForSelector("text=All is well");
  const other = await open("/catalogue");
  await altered(other, { ...quiet, "/v1/sagas": undefined });
  await other.click("nav >> text=Home");
  await other.waitForSelector(".home-state >> text=It broke.");
  assert.doesNotMatch(await other.innerText("main"), /All is well/);
});

test("a service that fails its requests and alerts that are silenced are not passed over", async () => {
  const page = await open("/catalogue");
  const alert = (n, silenced) => ({ alert: "latency", state: "firing", severity: "critical", fingerprint: n, labels: {}, since: new Date().toISOString(), started: new Date().toISOString(), summary: "slow", silenced });
  await altered(page, {
    ...quiet,
    "/v1/alerts": (a) => ({ ...a, alerts: [alert("1", ["s"])] }),
    "/v1/top": (t) => ({ ...t, services: t.services.map((s) => ({ ...s, state: "ready", per_second: 1, error_ratio: s.service === "web" ? 0.5 : 0 })) }),
  });
  await page.click("nav >> text=Home");
  await page.waitForSelector(".home-ill >> text=web fails 50.0 % of its requests");
  assert.match((await page.innerText(".home-tiles")).replace(/\s+/g, " "), /0 alerts firing, 1 silenced/);
});

test("of very many rows the first are drawn, and more when they are asked for", async () => {
  const page = await open("/home-less");
  await altered(page, { "/v1/routes": (r) => ({ routes: Array.from({ length: 10_000 }, (_, i) => ({ ...r.routes[0], path: `/r${i}` })) }) });
  await page.click("nav >> text=Gateway");
  await page.waitForSelector("text=The first 500 of 10 k rows are shown");
  assert.equal((await rows(page, "Routes")).length, 500);
  await page.click("button:has-text('500 more')");
  await until("1,000 are drawn", async () => (await rows(page, "Routes")).length === 1000);
  await page.fill("[aria-label='Filter routes']", "r9999");
  await until("the filter is about all", async () => (await rows(page, "Routes")).length === 1);
});

test("rows of a long table that could not be seen show the newest once they can", async () => {
  const page = await open("/home-less");
  let told = 0;
  await altered(page, {
    "/v1/routes": (r) => {
      told++;
      return told > 2 ? new Promise(() => {}) : { routes: Array.from({ length: 200 }, (_, i) => ({ ...r.routes[0], path: `/r${i}`, timeout: `${told}s` })) };
    },
  });
  await page.click("nav >> text=Gateway");
  const last = (n) => rows(page, "Routes").then((all) => all.slice(-n).map((r) => r.at(-1)));
  await until("all are drawn", async () => (await rows(page, "Routes")).length === 200);
  await until("the first are drawn anew", async () => (await rows(page, "Routes"))[0].at(-1).startsWith("2s"));
  assert.ok((await last(10)).some((text) => text.startsWith("1s")), "those that nobody sees wait");
  await page.locator('table[aria-label="Routes"] tbody tr').last().scrollIntoViewIfNeeded();
  await until("the last are drawn anew", async () => (await last(10)).every((text) => text.startsWith("2s")));
});

test("the map has an edge for each that the API tells of, with rate, latency and errors", async () => {
  const page = await open("/?view=map&t=60m");
  await page.waitForSelector(".map-node");
  const map = await api("/v1/map");
  const titles = await until("edges", async () => {
    const all = await page.locator(".map-edge title").allTextContents();
    return all.length >= map.edges.filter((e) => e.from !== e.to).length && all;
  });
  for (const e of map.edges) {
    if (e.from === e.to) continue;
    const title = titles.find((t) => t.startsWith(`${e.from} → ${e.to} (${{ call: "call", event: "event", saga: "saga", gateway: "request" }[e.kind]})`));
    assert.ok(title, `${e.from} ${e.to} ${e.kind}`);
    if (e.errors) assert.doesNotMatch(title, / 0 % failed/);
  }
  await page.click("summary:has-text('As a table')");
  assert.ok((await rows(page, "Who reaches whom")).length >= map.edges.length - 1);
});

test("filter, order and view stand in the address, and keys do all of it", async () => {
  const page = await open("/");
  await page.waitForSelector('table[aria-label="Services"]');
  await page.keyboard.press("/");
  await page.keyboard.type("bill");
  await until("one is left", async () => (await rows(page, "Services")).length === 1);
  assert.match(page.url(), /find=bill/);
  await page.keyboard.press("Escape");
  await page.locator('table[aria-label="Services"] tbody tr').first().focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/service\/billing/);
  await page.keyboard.press("g");
  await page.keyboard.press("h");
  await page.waitForSelector("h1:has-text('Services')");
  await page.keyboard.press("Control+k");
  await page.keyboard.type("ship");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/service\/shipping/);
  await page.keyboard.press("?");
  await page.waitForSelector("dialog:has-text('Keys')");
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog", { state: "detached" });
});

test("home is sound in every look", () => everyLook("/", 'table[aria-label="Services"]'));
test("the map is sound in every look", () => everyLook("/?view=map", ".map-node"));
