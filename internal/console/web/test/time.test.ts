import assert from "node:assert/strict";
import { test } from "node:test";

// What a browser has.
Object.assign(globalThis, { location: { pathname: "/", search: "" }, addEventListener: () => undefined });
const { clock, duration, spanText } = await import("../src/time.js");

test("durations keep what matters of them", () => {
  const s = 1e9;
  assert.deepEqual([0, 512, 1500, 2.5e6, 3.25 * s, 59.9 * s, 60 * s, 89 * s, 3599 * s, 5400 * s].map(duration), ["0", "512 ns", "1.50 µs", "2.50 ms", "3.25 s", "59.9 s", "1 min", "1 min 29 s", "59 min 59 s", "1 h 30 min"]);
  assert.deepEqual([59, 60, 3570, 3599, 3600, 7199, 86399].map((n) => spanText(n * s)), ["59 s", "1 min", "1 h", "1 h", "1 h", "2 h", "24 h"]);
});

test("midnight is 00:00, in every language", () => {
  const at = new Date();
  at.setHours(0, 5, 7, 0);
  const was = Date.prototype.toLocaleTimeString;
  for (const locale of ["en-US", "en-GB", "de-DE", "ja-JP"]) {
    Date.prototype.toLocaleTimeString = function (_?: unknown, options?: Intl.DateTimeFormatOptions) {
      return was.call(this, locale, options);
    };
    assert.equal(clock(at), "00:05:07", locale);
  }
  Date.prototype.toLocaleTimeString = was;
});
