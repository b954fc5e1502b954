// Takes the pictures of the docs. Traffic goes on meanwhile, so that there is something to see.
import { api, close, gateway, open } from "./harness.mjs";

const out = process.env.OUT;
let going = true;

/** traffic is what a few visitors do. */
async function traffic() {
  const paths = ["/api/leads?limit=20", "/api/crm/accounts", "/api/orders", "/api/billing/invoices", "/api/mailbox/mails", "/api/shipping/stock", "/"];
  for (let i = 0; going; i++) {
    await fetch(gateway + paths[i % paths.length]).then((r) => r.arrayBuffer(), () => undefined);
    if (i % 9 === 0) {
      await fetch(gateway + "/api/leads", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ email: `visitor${i}-${Date.now()}@example.com`, company: "Example", synthetic: true }) }).catch(() => undefined);
    }
    await new Promise((r) => setTimeout(r, 40 + 60 * Math.random()));
  }
}
const running = [traffic(), traffic()];
await new Promise((r) => setTimeout(r, 90_000));

const traces = await api("/v1/traces?limit=200&query=" + encodeURIComponent('service = leads and kind = server and http.request.method = POST'));
const rich = traces.traces.filter((t) => t.duration_ns < 3e8).sort((a, b) => b.spans - a.spans)[0];
const saga = (await api("/v1/saga-instances?state=parked")).instances[0];
const compensated = (await api("/v1/saga-instances?state=compensated&step=charge")).instances[0];

const screens = [
  ["home", "/"],
  ["map", "/?view=map", ".map-node"],
  ["service", "/service/leads", 'table[aria-label="Replicas"]'],
  ["contract", "/service/crm?tab=contract&op=GET%20/api/crm/accounts", ".contract-try form"],
  ["traces", "/traces"],
  ["trace", `/trace/${rich.trace_id}`, "[role=treegrid]"],
  ["logs", "/logs"],
  ["metrics", "/metrics?service=orders"],
  ["alerts", "/alerts"],
  ["events", "/events"],
  ["sagas", "/sagas"],
  ["saga", `/saga/${compensated.id}`],
  ["parked", `/saga/${saga.id}`],
  ["gateway", "/gateway"],
  ["catalogue", "/catalogue"],
];
for (const scheme of ["light", "dark"]) {
  for (const [name, path, ready = "main h1"] of screens) {
    if (process.env.ONLY && !process.env.ONLY.split(",").includes(name)) continue;
    const page = await open(path, { scheme, height: 820 });
    await page.waitForSelector(ready);
    await page.waitForTimeout(2500);
    await page.screenshot({ path: `${out}/${name}-${scheme}.png` });
    await page.context().close();
    console.log(`${name}-${scheme}.png`);
  }
}
going = false;
await Promise.all(running);
await close();
