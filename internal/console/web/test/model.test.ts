import assert from "node:assert/strict";
import { test } from "node:test";
import { blameOf, criticalOf, ownOf, pairsOf, treeOf, visible, type Node } from "../src/trace/model";
import type { Span, Trace } from "../src/types";

// span makes one: id, parent, when it began and ended in ms.
function span(id: string, parent: string, from: number, to: number, more: Partial<Span> = {}): Span {
  const at = new Date(Date.UTC(2026, 0, 2, 3, 4, 5) + from).toISOString().replace("Z", "000001Z");
  return { trace_id: "t", span_id: id, parent_id: parent, service: "s", name: id, kind: "internal", time: at, duration_ns: (to - from) * 1e6, status: "unset", ...more };
}
const trace = (...spans: Span[]): Trace => ({ trace_id: "t", spans });
const path = (nodes: Node[]) => Object.fromEntries(nodes.filter((n) => n.critical.length).map((n) => [n.span.span_id, n.critical.map(([a, b]) => [a / 1e6, b / 1e6]).sort((x, y) => x[0]! - y[0]!)]));

test("the critical path of a chain is what none below is under way in", () => {
  const t = treeOf(trace(span("root", "", 0, 100), span("a", "root", 10, 40), span("b", "root", 50, 90)));
  assert.deepEqual(path(t.nodes), { root: [[0, 10], [40, 50], [90, 100]], a: [[10, 40]], b: [[50, 90]] });
});

test("of what is under way at once, what ended last is critical", () => {
  const t = treeOf(trace(span("root", "", 0, 100), span("fast", "root", 10, 60), span("slow", "root", 10, 95)));
  assert.deepEqual(path(t.nodes), { root: [[0, 10], [95, 100]], slow: [[10, 95]] });
});

test("the times of the critical path add up to the trace's", () => {
  let seed = 7;
  const rnd = (n: number) => (seed = (seed * 48271) % 2147483647) % n;
  for (let round = 0; round < 300; round++) {
    const spans = [span("0", "", 0, 1000)];
    for (let i = 1; i < 40; i++) {
      const p = spans[rnd(i)]!;
      const from = (Date.parse(p.time) - Date.UTC(2026, 0, 2, 3, 4, 5)) + rnd(50);
      spans.push(span(String(i), p.span_id, from, from + rnd(600)));
    }
    const t = treeOf(trace(...spans));
    const parts = t.nodes.flatMap((n) => n.critical).sort((a, b) => a[0] - b[0]);
    for (let i = 1; i < parts.length; i++) assert.ok(parts[i]![0] >= parts[i - 1]![1], "parts overlap");
    assert.equal(t.nodes.reduce((sum, n) => sum + criticalOf(n), 0), t.total);
  }
});

test("the consumer of an event after its cause has ended is on the path", () => {
  const t = treeOf(trace(span("root", "", 0, 10), span("late", "root", 20, 50, { kind: "consumer" })));
  assert.deepEqual(path(t.nodes), { root: [[0, 10]], late: [[20, 50]] });
});

test("what an event began is on the path with all that began it", () => {
  const t = treeOf(
    trace(
      span("post", "", 0, 10),
      span("stored", "post", 2, 6),
      span("enrich", "post", 50, 90, { kind: "consumer" }),
      span("qualify", "enrich", 80, 110, { kind: "consumer" }),
      span("asks", "qualify", 82, 87),
      span("beside", "enrich", 81, 106, { kind: "consumer" }),
      span("route", "qualify", 100, 150, { kind: "consumer" }),
      span("crm", "qualify", 101, 121, { kind: "consumer" }),
    ),
  );
  assert.deepEqual(path(t.nodes), { post: [[0, 2], [6, 10]], stored: [[2, 6]], enrich: [[50, 80]], qualify: [[80, 82], [87, 100]], asks: [[82, 87]], route: [[100, 150]] });
});

test("all steps of a saga are on the path, and what ends a moment after its caller", () => {
  const saga = treeOf(trace(span("start", "", 0, 10), span("reserve", "start", 20, 120), span("invoice", "start", 130, 230), span("charge", "start", 240, 340)));
  assert.deepEqual(path(saga.nodes), { start: [[0, 10]], reserve: [[20, 120]], invoice: [[130, 230]], charge: [[240, 340]] });
  const call = treeOf(trace(span("root", "", 0, 100), span("client", "root", 10, 50), span("server", "client", 12, 51), span("query", "server", 15, 45), span("second", "root", 60, 90)));
  assert.deepEqual(path(call.nodes), { root: [[0, 10], [50, 60], [90, 100]], client: [[10, 12]], server: [[12, 15], [45, 50]], query: [[15, 45]], second: [[60, 90]] });
});

test("a span whose parent is missing and a circle are at the top", () => {
  const t = treeOf(trace(span("x", "gone", 0, 10), span("a", "b", 1, 5), span("b", "a", 2, 6), span("self", "self", 3, 4)));
  assert.deepEqual(t.roots.map((n) => n.span.span_id).sort(), ["a", "self", "x"]);
  assert.equal(t.nodes.length, 4);
  assert.ok(t.byID.get("x")!.orphan);
});

test("a clock that runs behind does not let an effect begin before its cause", () => {
  const t = treeOf(trace(span("call", "", 100, 200), span("served", "call", 0, 50, { service: "other", kind: "server" })));
  const served = t.byID.get("served")!;
  assert.deepEqual([served.from / 1e6, served.to / 1e6, t.total / 1e6], [25, 75, 100]);
});

test("a step that Atoll itself saw long after its cause stays where it was", () => {
  const t = treeOf(trace(span("post", "", 0, 10, { scope: "atoll", kind: "server" }), span("step", "post", 500, 505, { service: "other", kind: "server", scope: "atoll" })));
  assert.equal(t.total / 1e6, 505);
});

test("a record without a span is told with the shortest span of its service that was under way", () => {
  const at = (ms: number) => new Date(Date.UTC(2026, 0, 2, 3, 4, 5) + ms).toISOString();
  const record = (service: string, ms: number, span_id = "") => ({ time: at(ms), service, level: "info" as const, text: `${service} ${ms}`, span_id });
  const t = treeOf({ ...trace(span("root", "", 0, 100), span("a", "root", 10, 40), span("b", "root", 50, 90, { service: "other" })), records: [record("s", 20), record("s", 60), record("other", 95), record("s", 20, "b"), record("nobody", 20), record("gateway", 101), record("other", 5)] });
  assert.deepEqual(t.nodes.map((n) => [n.span.span_id, n.near.map((r) => r.text), n.records.map((r) => r.text)]), [["root", ["s 60", "gateway 101"], []], ["a", ["s 20"], []], ["b", ["other 95"], ["s 20"]]]);
  assert.deepEqual(t.records.map((r) => r.text), ["nobody 20", "other 5"]);
});

test("nanoseconds are not lost", () => {
  const a = { ...span("a", "", 0, 1), time: "2026-01-02T03:04:05.999999999Z", duration_ns: 3 };
  const b = { ...span("b", "a", 0, 1), time: "2026-01-02T03:04:06.000000001Z", duration_ns: 1 };
  const t = treeOf(trace(a, b));
  assert.deepEqual([t.byID.get("b")!.from, t.total], [2, 3]);
});

test("what is below a folded span is not visible", () => {
  const t = treeOf(trace(span("root", "", 0, 100), span("a", "root", 10, 40), span("aa", "a", 11, 12), span("b", "root", 50, 90)));
  assert.deepEqual(visible(t, new Set(["a"])).map((n) => n.span.span_id), ["root", "a", "b"]);
  assert.deepEqual(visible(t, new Set(["root"])).map((n) => n.span.span_id), ["root"]);
});

test("own time leaves out what overlaps once", () => {
  const t = treeOf(trace(span("root", "", 0, 100), span("a", "root", 10, 40), span("b", "root", 30, 60), span("c", "root", 90, 130)));
  assert.equal(ownOf(t.byID.get("root")!) / 1e6, 40);
});

test("a chain of 20,000 spans is no stack overflow", () => {
  const spans = [span("0", "", 0, 1)];
  for (let i = 1; i < 20_000; i++) spans.push(span(String(i), String(i - 1), 0, 1));
  const t = treeOf(trace(...spans));
  assert.equal(t.nodes[19_999]!.depth, 19_999);
  assert.equal(pairsOf(t, t).length, 20_000);
});

test("two traces are laid over one another by service and name", () => {
  const a = treeOf(trace(span("r", "", 0, 100), span("db", "r", 10, 20), span("db2", "r", 20, 50, { name: "db" }), span("only", "r", 60, 70)));
  const b = treeOf(trace(span("r", "", 0, 200), span("db", "r", 10, 90), span("new", "r", 90, 95, { status: "error" })));
  const pairs = pairsOf(a, b).map((p) => [p.name, p.depth, p.a.spans.length, p.a.total / 1e6, p.b.spans.length, p.b.total / 1e6, p.b.errors]);
  assert.deepEqual(pairs, [["r", 0, 1, 100, 1, 200, 0], ["db", 1, 2, 40, 1, 80, 0], ["only", 1, 1, 10, 0, 0, 0], ["new", 1, 0, 0, 1, 5, 1]]);
});

test("what makes the difference of two traces is told by the critical path, waiting too", () => {
  const a = treeOf(trace(span("r", "", 0, 100), span("db", "r", 10, 20)));
  const slow = treeOf(trace(span("r", "", 0, 190), span("db", "r", 10, 100)));
  const late = treeOf(trace(span("r", "", 0, 100), span("db", "r", 500, 510, { kind: "consumer" })));
  const blame = (b: typeof a) => {
    const { pair, more } = blameOf(pairsOf(a, b), a, b);
    return [pair?.name, more / 1e6];
  };
  assert.deepEqual(blame(slow), ["db", 80]);
  assert.deepEqual(blame(late), [undefined, 400]);
});
