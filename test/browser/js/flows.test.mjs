import assert from "node:assert/strict";
import { after, test } from "node:test";
import { api, close, open, rows, until } from "./harness.mjs";

after(close);

test("logs show the counts of levels and services as the API has them, and a facet narrows them", async () => {
  const now = Date.now();
  const range = `${new Date(now - 3600e3).toISOString()}~${new Date(now).toISOString()}`;
  const page = await open("/logs?t=" + encodeURIComponent(range));
  const [from, to] = range.split("~");
  const { table } = await api(`/v1/records?query=${encodeURIComponent("| count() by level")}&from=${from}&to=${to}`);
  const errors = table.rows.find((r) => r[0] === "error")?.[1] ?? 0;
  assert.ok(errors > 0, "the demo leaves errors");
  await until("the count of errors is shown", async () => (await page.innerText(".logs-facet.error b")).replace(",", "") === String(errors));
  await page.check(".logs-facet.error input");
  await page.waitForURL(/level=error/);
  await until("only errors are listed", async () => {
    const shown = await page.locator(".logs-lines .logs-row").evaluateAll((list) => list.map((r) => r.className));
    return shown.length > 0 && shown.every((c) => c.includes("error")) && (await page.innerText(".logs-bar")).startsWith(`${Math.min(errors, 200)} line`);
  });
});

test("a line opens with what its replica wrote around it", async () => {
  const page = await open("/logs?t=60m&level=error");
  await page.locator(".logs-lines .virtual").focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog .logs-context .logs-row[aria-current]");
  await page.keyboard.press("Escape");
  await until("the window is closed", async () => (await page.locator("dialog").count()) === 0);
});

test("sagas count their instances as the API has them, and list them by state", async () => {
  const page = await open("/sagas?state=parked");
  const { sagas } = await api("/v1/sagas");
  const { instances } = await api("/v1/saga-instances?state=parked");
  for (const s of sagas) await page.waitForSelector(`.sagas-def:has-text("${s.saga}") >> text=${s.instances.parked ?? 0} parked`);
  await until("the parked ones are listed", async () => (await rows(page, "Instances")).length === instances.length);
});

test("a saga shows each step in its state and each entry of its history", async () => {
  const { instances } = await api("/v1/saga-instances?limit=1");
  const d = await api("/v1/saga-instances/" + instances[0].id);
  const page = await open("/saga/" + d.id);
  for (const s of d.steps) await page.waitForSelector(`.saga-step.${s.state}:has-text("${s.step}")`);
  assert.equal((await rows(page, "Timeline")).length, d.history.length);
});

test("topics and subscriptions have the numbers of the API", async () => {
  const page = await open("/events");
  const bus = await api("/v1/bus");
  await until("all topics are listed", async () => (await rows(page, "Topics")).length === bus.topics.length);
  await page.click('[role="tab"] >> text=Subscriptions');
  await until("all subscriptions are listed", async () => (await rows(page, "Subscriptions")).length === bus.subscriptions.length);
});

test("a silence is made and ended", async () => {
  const page = await open("/alerts");
  await page.click('.page-head >> text="Silence"');
  await page.fill("dialog textarea", "alert=none\nservice=<b>x</b>");
  await page.click('dialog button[type="submit"]');
  await page.waitForURL(/tab=silences/);
  const mine = await until("it is in force", async () => (await api("/v1/silences")).silences.find((s) => s.state === "active" && s.matchers.some((m) => m.includes("<b>x</b>"))));
  await page.getByRole("button", { name: `End the silence of ${mine.matchers.join(" ")}` }).click();
  await page.click('dialog button[type="submit"]');
  await until("it is over", async () => (await api("/v1/silences")).silences.find((s) => s.id === mine.id).state === "ended");
});

test("a rule is tested, and says what its question answers", async () => {
  const page = await open("/alerts?tab=rules&rule=parked-sagas");
  await page.click("text=Test it now");
  await page.getByRole("table", { name: "What it answers just now" }).or(page.getByText("It answers with nothing")).waitFor();
});

test("numbers that a browser has no room for survive the editing of a dead letter", async () => {
  const page = await open("/events");
  const letter = '{"offset":7,"subscription":"crm/lead.routed","topic":"lead.routed","origin":3,"cause":"refused","failed":1,"stored":"2026-01-02T03:04:05Z","died":"2026-01-02T03:04:05Z","event":{"specversion":"1.0","id":"1","type":"lead.routed","source":"/services/leads","data":{"id":9007199254740993,"note":"a"}}}';
  await page.route("**/v1/bus/dead/7", (route) => route.fulfill({ contentType: "application/json", body: letter }));
  let sent;
  await page.route("**/v1/bus/dead/replay", (route) => {
    sent = JSON.parse(route.request().postData());
    return route.fulfill({ contentType: "application/json", body: '{"done":1}' });
  });
  await page.route("**/v1/watch?*", async (route) => {
    const gets = new URL(route.request().url()).searchParams.getAll("get").filter((g) => g.includes("/v1/bus/dead"));
    await route.fulfill({ contentType: "text/event-stream", body: gets.map((get) => `data: {"get":${JSON.stringify(get)},"status":200,"body":{"dead_letters":[${letter}]}}\n\n`).join("") });
  });
  await page.goto(page.url() + "?tab=dead&offset=7");
  await page.click("text=Edit the data");
  const text = await page.inputValue("dialog textarea");
  assert.match(text, /9007199254740993/);
  await page.fill("dialog textarea", text.replace('"a"', '"b"'));
  await page.click("text=Replay with this data");
  await until("it is sent", () => sent);
  assert.match(Buffer.from(sent.data, "base64").toString(), /"id": 9007199254740993,\s+"note": "b"/);
});
