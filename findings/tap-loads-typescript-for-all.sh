#!/bin/sh
# What the command of tap 21 loads into a test that is plain JavaScript.
#
# Guess: the plugins for TypeScript and for mocks are loaded into tests that need
# them: those that end in .ts, or call t.mock*().
#
# Seen (2026-11-30, tap 21.8.0, Node.js 20.20.2): every test process gets an --import of
# @tapjs/typescript, @tapjs/mock and @tapjs/processinfo, a test of one line of
# JavaScript as well, with --disable-coverage as well. It took 2.35 s of CPU time so,
# and 0.51 s when node ran the same file. Tests that one test starts with t.spawn()
# get none of it, and are reported in the same stream.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' >package.json
npm install --silent --no-audit --no-fund tap@21.8.0
mkdir spawned
cat >one.test.js <<'END'
import t from 'tap'
const loaded = process.execArgv.map(word => /@tapjs[/](\w+)/.exec(word)?.[1])
t.pass(`loaded: ${loaded.filter(Boolean).sort().join(' ') || 'nothing'}`)
END
cp one.test.js spawned/two.js
cat >all.test.js <<'END'
import t from 'tap'
t.spawn(process.execPath, ['spawned/two.js'])
END
for test in one all; do
  npx tap --disable-coverage --reporter=tap "$test.test.js" | sed -n "s/.*ok 1 - loaded/$test: loaded/p"
done >seen
cat seen
cat >expected <<'END'
one: loaded: mock processinfo typescript
all: loaded: nothing
END
cmp seen expected
