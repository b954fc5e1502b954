// How logs, events, sagas and alerts look, each of their views: what they say is in flows.test.mjs.
import { after, test } from "node:test";
import { api, close, everyLook } from "./harness.mjs";

after(close);

test("logs are sound in every look", () => everyLook("/logs?t=60m", ".logs-lines .logs-row"));
test("the tail is sound in every look", () => everyLook("/logs?live=1", ".logs-tail"));
for (const [tab, ready] of [
  ["topics", 'table[aria-label="Topics"]'],
  ["subscriptions", 'table[aria-label="Subscriptions"]'],
  ["dead", ".events-panel .card"],
  ["delayed", ".events-panel .card"],
  ["webhooks", ".events-panel .card"],
  ["events", 'table[aria-label="Stored events, the newest first"]'],
]) {
  test(`${tab} of the events are sound in every look`, () => everyLook("/events?tab=" + tab, ready));
}
for (const tab of ["now", "rules", "silences", "history", "receivers"]) {
  test(`${tab} of the alerts is sound in every look`, () => everyLook("/alerts?tab=" + tab, ".alerts-panel > *"));
}
test("sagas are sound in every look", () => everyLook("/sagas", 'table[aria-label="Instances"]'));
test("a saga is sound in every look", async () => {
  const { instances } = await api("/v1/saga-instances?state=parked");
  await everyLook("/saga/" + instances[0].id, ".saga-step");
});
