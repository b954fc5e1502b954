import assert from "node:assert/strict";
import { test } from "node:test";
import { both, fieldText, filterOf, narrowed, parseDuration, regionOf, regionText, stagesOf, valueText, withinText } from "../src/trace/querytext";

test("a bar within quotes begins no stage", () => {
  const q = 'name = "a|\\"b|" and `x|y` = 1 | count() by service';
  assert.equal(filterOf(q), 'name = "a|\\"b|" and `x|y` = 1');
  assert.equal(stagesOf(q), "| count() by service");
  assert.equal(stagesOf("service = a"), "");
});

test("what is added to a query with or, or with stages, stays what it was", () => {
  assert.equal(narrowed("a = 1 or b = 2 | count()", "c = 3"), "(a = 1 or b = 2) and c = 3 | count()");
  assert.equal(narrowed("", "c = 3"), "c = 3");
  assert.equal(both("", undefined, false), "");
});

test("hostile names and values are quoted", () => {
  assert.equal(fieldText("http.route"), "http.route");
  assert.equal(fieldText("or"), "`or`");
  assert.equal(fieldText("a b"), "`a b`");
  assert.equal(valueText('a"b\\\n'), '"a\\"b\\\\\\n"');
  assert.equal(valueText(5), "5");
  assert.equal(valueText(true), "true");
});

test("durations are read as they are written", () => {
  assert.equal(parseDuration("1.5ms"), 1_500_000);
  assert.equal(parseDuration(" 2 s "), 2e9);
  assert.equal(parseDuration("soon"), undefined);
});

test("a region survives its address", () => {
  const r = { from: "2026-01-02T03:04:05.000Z", to: "2026-01-02T03:05:05.000Z", least: 5, most: 7 };
  assert.deepEqual(regionOf(regionText(r)), r);
  assert.equal(regionOf("x~y~1~2"), undefined);
  assert.equal(withinText(r), "duration >= 5ns and duration < 7ns");
  assert.equal(withinText({ ...r, least: 0, most: 0 }), "");
});
