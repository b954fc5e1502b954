#!/bin/sh
# Tests of what in the console computes without a browser: compiled to a folder of their own, and run by Node.
set -eu
cd "$(dirname "$0")/.."
out=node_modules/.test
rm -rf "$out"
npx tsc -p test/tsconfig.json --outDir "$out"
echo '{"type": "module"}' >"$out/package.json"
# The sources import one another without an ending, as the bundler has it; Node wants it.
find "$out" -name '*.js' -exec sed -i -E 's#(from "\.[^"]*[^s"]|from "\.[^"]*[^j"]s)"#\1.js"#' {} +
node --test "$out/test"
