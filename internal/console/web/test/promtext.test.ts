import assert from "node:assert/strict";
import { test } from "node:test";
import { promAt } from "../src/trace/promtext";

// at tells the place of the bar in a text.
function at(marked: string) {
  const cursor = marked.indexOf("|");
  const { kind, word, metric, label, by } = promAt(marked.replace("|", ""), cursor);
  return [kind, word, metric || label || (by ? "by" : "")];
}

test("what may stand at the cursor of a PromQL query", () => {
  assert.deepEqual(at("sum(rate(htt|"), ["name", "htt", ""]);
  assert.deepEqual(at("up{ser|"), ["label", "ser", "up"]);
  assert.deepEqual(at('up{a="b",ser|}'), ["label", "ser", "up"]);
  assert.deepEqual(at("sum by (ser|) (up)"), ["label", "ser", "by"]);
  assert.deepEqual(at("rate(up[5m|"), ["none", "m", ""]);
  assert.deepEqual(at('up{service="ord|"}'), ["value", "ord", "up"]);
  assert.deepEqual(at('label_replace(up, "ser|'), ["none", "ser", ""]);
  assert.deepEqual(at('up{a="}"} + do|'), ["name", "do", ""]);
});
