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
