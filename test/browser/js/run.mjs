// Runs every test, one file after the other: they share one application, and some change it.
import { readdirSync } from "node:fs";
import { spec } from "node:test/reporters";
import { run } from "node:test";

const only = process.env.ONLY;
const files = readdirSync(".").filter((f) => f.endsWith(".test.mjs") && (!only || f.startsWith(only))).sort();
run({ files, concurrency: false, timeout: 900_000 })
  .on("test:fail", () => (process.exitCode = 1))
  .compose(spec)
  .pipe(process.stdout);
