#!/bin/sh
# Code that V8 kept of a script (vm.Script, createCachedData()), used by another
# process, with the option that gives import() the loader of the program.
#
# Guess: importModuleDynamically belongs to the script that is made, cached data or
# not, so import() works the second time as it did the first.
#
# Seen (2026-11-30, Node.js 20.20.2 and 24.14.0): the second process takes the cached
# data, runs the code, and with 20.20.2 import() is refused, with
# ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING. With 24.14.0 it works. In the process that
# made the data it works with both, so a test in one process shows nothing.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true }' >package.json
npm install --silent --no-audit --no-fund n20@npm:node@20.20.2 n24@npm:node@24.14.0
cat >try.mjs <<'END'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { Script, constants } from 'node:vm'
const options = { filename: `${process.cwd()}/script.cjs`, importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER }
if (existsSync('code')) options.cachedData = readFileSync('code')
const script = new Script('(name => import(name))', options)
const load = script.runInThisContext()
const from = { undefined: 'new', true: 'rejected', false: 'cached' }[script.cachedDataRejected]
const came = await load('node:os').then(() => 'imported', error => error.code)
console.log(`${from} ${came}`)
writeFileSync('code', script.createCachedData())
END
for node in n20 n24; do
  rm -f code
  for _ in 1 2; do echo "$node $("node_modules/$node/bin/node" --no-warnings try.mjs)"; done
done >seen
cat seen
cat >expected <<'END'
n20 new imported
n20 cached ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING
n24 new imported
n24 cached imported
END
cmp seen expected
