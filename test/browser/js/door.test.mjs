// Who gets in, and what a page of another origin can do.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { request } from "node:http";
import { after, test } from "node:test";
import { api, atoll, close, consoleURL, launch, link, open, until } from "./harness.mjs";

after(close);

test("without a token nothing is shown but the way in", async () => {
  const page = await open("/", { login: false });
  await page.waitForSelector("text=Log in to the console");
  assert.match(await page.innerText("main"), /atoll console/);
  for (const path of ["/v1/app", "/v1/services", "/prometheus/api/v1/query?query=up"]) {
    assert.equal((await fetch(consoleURL + path)).status, 403, path);
    assert.equal((await fetch(consoleURL + path, { headers: { Authorization: "Bearer x" } })).status, 403, path);
  }
});

test("a link logs in once, and leaves no code in the address", async () => {
  const url = link();
  const browser = await launch();
  const first = await (await browser.newContext()).newPage();
  await first.goto(url);
  await first.waitForSelector("h1:has-text('Services')");
  assert.ok(!first.url().includes("login"));
  await first.reload();
  await first.waitForSelector("h1:has-text('Services')");
  const second = await (await browser.newContext()).newPage();
  await second.goto(url);
  await second.waitForSelector("text=has been used");
  assert.deepEqual(await first.context().cookies(), [], "a cookie would be sent to every port");
});

test("who logs out is out", async () => {
  const page = await (await (await launch()).newContext()).newPage();
  await page.goto(link()); // a session of its own: the others go on
  await page.waitForSelector("h1:has-text('Services')");
  const token = await page.evaluate(() => localStorage.getItem("atoll.token"));
  await page.click("text=Log out");
  await page.waitForSelector("text=Log in to the console");
  assert.equal((await fetch(consoleURL + "/v1/app", { headers: { Authorization: "Bearer " + token } })).status, 403);
});

test("a page of another origin can neither read nor act", async () => {
  const inside = await open("/");
  const token = await inside.evaluate(() => localStorage.getItem("atoll.token"));
  const before = (await api("/v1/services/web")).running[0].since;
  // The worst case: it even knows the token.
  const evil = createServer((_, res) => res.setHeader("Content-Type", "text/html").end("<p>evil</p>")).listen(0, "127.0.0.1");
  await new Promise((r) => evil.once("listening", r));
  const page = await (await launch()).newPage();
  await page.goto(`http://127.0.0.1:${evil.address().port}/`);
  const outcome = await page.evaluate(
    async ([to, token]) => {
      const tries = [];
      const add = async (name, init) => tries.push([name, await fetch(to, init).then((r) => r.type + r.status, () => "blocked")]);
      await add("simple form", { method: "POST", mode: "no-cors", credentials: "include" });
      await add("with token", { method: "POST", headers: { Authorization: "Bearer " + token, "Content-Type": "application/json" } });
      await add("read", { headers: { Authorization: "Bearer " + token } });
      return tries;
    },
    [consoleURL + "/v1/services/web/restart", token],
  );
  for (const [name, what] of outcome) assert.ok(what === "blocked" || what === "opaque0", `${name}: ${what}`);
  assert.equal((await api("/v1/services/web")).running[0].since, before, "another origin has restarted a service");
  const frame = await page.evaluate(
    (to) =>
      new Promise((done) => {
        const f = document.createElement("iframe");
        f.src = to;
        f.onload = () => setTimeout(() => done(f.contentDocument === null || f.contentDocument.body?.innerText.length > 0), 500);
        document.body.append(f);
      }),
    consoleURL + "/",
  );
  assert.ok(frame); // what is in the frame is the browser's error page: frame-ancestors 'none'
  assert.equal(page.frames().filter((f) => f.url().startsWith(consoleURL)).length, 0);
  evil.close();
});

test("a name that leads here (DNS rebinding) is refused, with and without a token", async () => {
  const page = await open("/");
  const token = await page.evaluate(() => localStorage.getItem("atoll.token"));
  const { hostname, port } = new URL(consoleURL);
  for (const [path, headers] of [["/", {}], ["/v1/app", { Authorization: "Bearer " + token }], ["/login", {}]]) {
    const status = await new Promise((done, fail) =>
      request({ hostname, port, path, headers: { ...headers, Host: `evil.example:${port}` } }, (res) => {
        res.resume();
        done(res.statusCode);
      })
        .on("error", fail)
        .end(),
    );
    assert.equal(status, 403, path);
  }
});

test("the console goes on by itself when Atoll is away for a moment", async () => {
  const page = await open("/");
  await page.waitForSelector('table[aria-label="Services"]');
  await page.context().setOffline(true);
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange"))); // ends the stream as a sleep would
  await page.waitForSelector("text=No connection to Atoll");
  await page.context().setOffline(false);
  await page.waitForSelector("text=No connection to Atoll", { state: "detached" });
});

test("a name in the address may hold any character", async () => {
  for (const [path, shown] of [
    ["/saga/100%25", "There is no such instance"],
    ["/saga/a%2Fb", "There is no such instance"],
    ["/service/%3Cb%3E%252f%25", "<b>%2f%"],
    ["/trace/..%2F..%2Fx", "../../x"],
  ]) {
    const page = await open(path);
    await page.locator(`main :text(${JSON.stringify(shown)})`).first().waitFor();
    assert.doesNotMatch(await page.innerText("main"), /could not be loaded/, path);
    assert.deepEqual(page.troubles.filter((t) => !t.includes("Failed to load resource")), [], path);
    await page.context().close();
  }
});

test("the command line says where the console is", async () => {
  assert.match(atoll("console"), new RegExp(`^${consoleURL}/#login=[A-Z0-9]+\n$`));
  await until("the address is in /v1/app", async () => (await api("/v1/app")).console === consoleURL);
});
