// What all tests of the console share: a browser that is logged in, and the control API to compare with.
import { execFileSync } from "node:child_process";
import assert from "node:assert/strict";
import AxeBuilder from "@axe-core/playwright";
import { chromium } from "playwright-core";

const { ATOLL, APP, COPY, CONTROL, TOKEN, GATEWAY, CONSOLE, CHROMIUM } = process.env;

export const gateway = GATEWAY;
export const consoleURL = CONSOLE;
export const token = TOKEN;

/** atoll runs the command line. */
export const atoll = (...args) => execFileSync(ATOLL, ["-C", APP, ...(COPY ? ["--copy", COPY] : []), ...args], { encoding: "utf8" });

/** link logs in once. */
export const link = () => JSON.parse(atoll("console", "--format", "json")).url;

/** api asks the control API as the command line does. */
export async function api(path, init = {}) {
  const answer = await fetch(CONTROL + path, { ...init, headers: { Authorization: `Bearer ${TOKEN}`, ...(init.body ? { "Content-Type": "application/json" } : {}), ...init.headers } });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.status === 204 ? undefined : answer.json();
}

/** prom is the value of an instant query. */
export async function prom(query) {
  const a = await api("/prometheus/api/v1/query?query=" + encodeURIComponent(query));
  return a.data.result;
}

let browser;
let session; // of the browser: the token, as the page keeps it

/** launch starts the browser once for each file. */
export async function launch() {
  browser ??= await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  return browser;
}

export async function close() {
  await browser?.close();
  browser = session = undefined;
}

/** open is a page that is logged in. What the browser complains of fails the test that asks for troubles. */
export async function open(path = "/", { width = 1280, height = 800, scheme = "light", login = true, locale = "en-GB", timezone = "UTC" } = {}) {
  const context = await (await launch()).newContext({ viewport: { width, height }, colorScheme: scheme, locale, timezoneId: timezone, reducedMotion: "reduce", storageState: login ? session : undefined });
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  page.troubles = [];
  page.outside = [];
  page.on("console", (m) => m.type() === "error" && page.troubles.push(m.text()));
  page.on("pageerror", (e) => page.troubles.push(String(e)));
  page.on("request", (r) => !r.url().startsWith(CONSOLE) && !r.url().startsWith("data:") && page.outside.push(r.url()));
  if (login && !session) {
    await page.goto(link());
    await page.waitForSelector("nav.side", { state: "attached" });
    session = await context.storageState();
  }
  await page.goto(CONSOLE + path);
  return page;
}

/** until waits for something to become true; what it last was is said if it does not. */
export async function until(what, holds, ms = 60_000) {
  const end = Date.now() + ms;
  let last;
  do {
    try {
      last = await holds();
      if (last) return last;
    } catch (e) {
      last = e;
    }
    await new Promise((r) => setTimeout(r, 100));
  } while (Date.now() < end);
  throw new Error(`in vain: ${what}; last: ${last}`);
}

/** rows are the texts of a table's cells. */
export const rows = (page, label) =>
  page.locator(`table[aria-label="${label}"] tbody tr`).evaluateAll((list) => list.map((tr) => [...tr.cells].map((td) => td.innerText.replace(/\s+/g, " ").trim())));

/** sound asserts that nothing was complained of, nothing was asked of another place, nothing sticks out, and axe finds nothing serious. */
export async function sound(page) {
  assert.deepEqual(page.troubles, []);
  assert.deepEqual(page.outside, []);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `the page is ${wide} pixels too wide at ${page.url()}`);
  const found = await new AxeBuilder({ page }).analyze();
  const serious = found.violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " + (n.any[0]?.message ?? "")).join(" | ")}`);
  assert.deepEqual(serious, []);
}

/** everyLook opens a screen in both schemes and both widths; it must be sound in each. */
export async function everyLook(path, ready) {
  const page = await open(path);
  await page.waitForSelector(ready);
  for (const width of [1280, 390]) {
    await page.setViewportSize({ width, height: width === 390 ? 844 : 800 });
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.waitForTimeout(400); // what is loaded late is drawn
      await sound(page);
    }
  }
  await page.context().close();
}
