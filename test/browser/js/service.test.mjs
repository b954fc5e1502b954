import assert from "node:assert/strict";
import { after, test } from "node:test";
import { api, close, everyLook, open, rows, until } from "./harness.mjs";

after(close);

test("a service shows its replicas, routes, calls and callers as the API has them", async () => {
  const page = await open("/service/leads");
  const s = await api("/v1/services/leads");
  await page.waitForSelector('table[aria-label="Replicas"]');
  const shown = await rows(page, "Replicas");
  assert.deepEqual(shown.map((r) => [r[0], r[1], r[9], r[10]]), s.running.map((r) => [r.replica, "● " + r.state, String(r.pid), r.url]));
  const facts = await page.innerText(".facts");
  for (const r of s.routes) assert.ok(facts.includes(r.path));
  for (const c of s.called_by) assert.ok(facts.includes(c));
});

test("restart and scale do what they say", async () => {
  const page = await open("/service/mailbox");
  await page.waitForSelector('table[aria-label="Replicas"]');
  const before = (await api("/v1/services/mailbox")).running[0].pid;
  await page.click("button:has-text('Restart')");
  await page.waitForSelector(".notices >> text=mailbox has new replicas");
  assert.notEqual((await api("/v1/services/mailbox")).running[0].pid, before);
  for (const n of ["2", "1"]) {
    await page.click("button:has-text('Scale')");
    await page.fill("dialog input", n);
    await page.click("dialog button.primary");
    await page.waitForSelector(`.notices >> text=mailbox has ${n} replica`);
    assert.equal((await api("/v1/services/mailbox")).running.filter((r) => r.state === "ready").length, Number(n));
    await until("the table follows", async () => (await rows(page, "Replicas")).length === Number(n));
  }
});

test("the contract is rendered whole, and an operation can be tried through the gateway", async () => {
  const page = await open("/service/crm?tab=contract");
  const doc = await api("/v1/services/crm/contract");
  const operations = Object.entries(doc.paths).flatMap(([path, item]) => Object.keys(item).filter((m) => ["get", "post", "put", "patch", "delete"].includes(m)).map((m) => `${m.toUpperCase()} ${path}`));
  await page.waitForSelector(".contract-op");
  const shown = await page.locator(".contract-op").evaluateAll((l) => l.map((b) => b.querySelector("b").innerText + " " + b.querySelector("code").innerText));
  assert.deepEqual(shown.sort(), operations.sort());
  await page.click(".contract-op:has-text('/api/crm/accounts') >> nth=0");
  await page.click(".contract-try button.primary");
  await page.waitForSelector(".contract-result .mark:has-text('200')");
  const id = (await page.getAttribute(".contract-result a:has-text('Its trace')", "href")).split("/").pop().split("?")[0];
  const trace = await until("its trace is kept", () => api("/v1/traces/" + id));
  assert.ok(trace.spans.some((s) => s.service === "crm"));
});

test("the environment hides what is, or may hold, a secret", async () => {
  const page = await open("/service/leads?tab=environment");
  await page.waitForSelector('table[aria-label="Environment"]');
  const shown = new Map((await rows(page, "Environment")).map((r) => [r[0], r[1]]));
  const { variables } = await api("/v1/services/leads/environment");
  assert.equal(shown.size, variables.length);
  assert.match(shown.get("DATABASE_URL"), /hidden/);
  assert.match(shown.get("NATS_URL"), /hidden/);
  assert.equal(shown.get("ATOLL_SERVICE"), "leads");
  assert.doesNotMatch(JSON.stringify(variables), /nats:\/\/.*@|sqlite:/);
});

test("events in and out are those of the manifest", async () => {
  const page = await open("/service/leads?tab=events");
  const s = await api("/v1/services/leads");
  await page.waitForSelector('table[aria-label="Topics that it subscribes to"]');
  assert.deepEqual((await rows(page, "Topics that it publishes")).map((r) => r[0]), s.publishes);
  assert.deepEqual((await rows(page, "Topics that it subscribes to")).map((r) => r[0]).sort(), Object.keys(s.subscribes).sort());
});

test("a service that is not there is said so", async () => {
  const page = await open("/service/nobody");
  await page.waitForSelector('.failed:has-text("No service \\"nobody\\" runs")');
});

test("the service screen is sound in every look", () => everyLook("/service/leads", 'table[aria-label="Replicas"]'));
test("a contract is sound in every look", () => everyLook("/service/leads?tab=contract&op=POST%20/api/leads", ".contract-try form"));
test("an environment is sound in every look", () => everyLook("/service/leads?tab=environment", 'table[aria-label="Environment"]'));
