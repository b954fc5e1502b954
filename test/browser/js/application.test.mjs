// Gateway, check and catalogue.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { api, close, everyLook, gateway, open, prom, rows, until } from "./harness.mjs";

after(close);

test("the gateway shows every route in order, with its traffic, and why requests were refused", async () => {
  const page = await open("/gateway");
  const { routes } = await api("/v1/routes");
  await page.waitForSelector('table[aria-label="Routes, the first that fits wins"], table[aria-label="Routes"]');
  const shown = await rows(page, "Routes");
  assert.deepEqual(shown.map((r) => r[0].split(" ")[0]), routes.map((r) => (r.host ?? "") + r.path));
  assert.deepEqual(shown.map((r) => r[1]), routes.map((r) => r.to));
  // More requests than the limit of the route allows.
  await Promise.all(Array.from({ length: 60 }, () => fetch(gateway + "/unsubscribe/nobody").catch(() => undefined)));
  await until("the limit shows", async () => (await prom('http_server_request_duration_seconds_count{atoll_code="limit-exceeded"}')).length > 0, 40_000);
  await until("the refusals are listed by cause", async () => (await page.reload(), await page.waitForTimeout(1500), (await page.innerText("main")).includes("over a limit")), 60_000);
});

test("the gateway of a range in the past counts that range, and not the last minutes", async () => {
  const to = new Date(Date.now() - 6 * 3600e3);
  const page = await open(`/gateway?t=${new Date(+to - 900e3).toISOString()}~${to.toISOString()}`);
  await page.waitForSelector('table[aria-label="Routes"]');
  await page.waitForSelector("text=Nothing was refused");
  await page.waitForTimeout(1500);
  const shown = await rows(page, "Routes");
  assert.deepEqual(shown.map((r) => r[3]), shown.map(() => "0"), "nobody asked anything six hours ago");
});

test("check shows what the check of the manifests found", async () => {
  const page = await open("/check");
  const { findings } = await api("/v1/findings");
  if (findings.length === 0) await page.waitForSelector("text=Nothing to find fault with");
  else for (const f of findings) await page.waitForSelector(`code:has-text("${f.code}")`);
  await page.click("text=Read the manifests again");
  await page.waitForSelector(".notices >> text=The manifests are in force");
});

test("the catalogue has owner, summary, contract and dependencies of each service", async () => {
  const page = await open("/catalogue");
  const { services } = await api("/v1/services");
  await page.waitForSelector('table[aria-label="Catalogue"]');
  const shown = new Map((await rows(page, "Catalogue")).map((r) => [r[0], r]));
  for (const s of services) {
    const row = shown.get(s.service);
    assert.equal(row[1], s.owner);
    assert.equal(row[2], s.summary);
    assert.equal(row[3], s.api ?? "none");
    for (const c of s.calls) assert.ok(row[4].includes(c.service));
    for (const c of s.called_by) assert.ok(row[5].includes(c));
  }
});

test("the gateway is sound in every look", () => everyLook("/gateway", 'table[aria-label="Routes"]'));
test("check is sound in every look", () => everyLook("/check", "main h1"));
test("the catalogue is sound in every look", () => everyLook("/catalogue", 'table[aria-label="Catalogue"]'));
