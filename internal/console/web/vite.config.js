import { readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig } from "vite";

// Each file is kept compressed alone: that is how it is embedded and sent.
const pack = {
  name: "pack",
  apply: "build",
  closeBundle() {
    const walk = (dir) => {
      for (const name of readdirSync(dir)) {
        const path = join(dir, name);
        if (statSync(path).isDirectory()) walk(path);
        else if (name !== ".keep" && !name.endsWith(".gz")) {
          writeFileSync(path + ".gz", gzipSync(readFileSync(path), { level: 9 }));
          rmSync(path);
        }
      }
    };
    walk("../dist");
  },
};

export default defineConfig({
  base: "/",
  plugins: [pack],
  build: { outDir: "../dist", emptyOutDir: true, target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 200 },
});
