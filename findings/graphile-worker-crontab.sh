#!/bin/sh
# graphile-worker as a library, with its tasks and its pool given in the code,
# still reads a file named crontab of whatever folder the program was started in.
# Guess: a program that names its tasks and no crontab has none.
#
# Seen: 2026-11-29, graphile-worker 0.17.3 on PGlite 0.5.14: a line that is no
# schedule in ./crontab keeps run() from starting at all; with parsedCronItems: []
# the file is not read.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts \
  graphile-worker@0.17.3 @electric-sql/pglite@0.5.14 >/dev/null
echo 'a note of mine' >crontab
cat >start.mjs <<'END'
import { EventEmitter } from 'node:events'
import { PGlite } from '@electric-sql/pglite'
import { run } from 'graphile-worker'

const db = await PGlite.create()
class Client extends EventEmitter {
  async query(one, given) {
    const { text, values = given } = typeof one === 'string' ? { text: one } : one
    const answer = values?.length
      ? await db.query(text, values)
      : (await db.exec(text)).at(-1)
    const rows = answer?.rows ?? []
    return { rows, rowCount: answer?.affectedRows || rows.length }
  }
  release() {}
}
class Pool extends EventEmitter {
  options = { max: 4 }
  connect(callback) {
    const client = new Client()
    if (!callback) return Promise.resolve(client)
    callback(undefined, client, () => undefined)
  }
  query(...words) {
    return new Client().query(...words)
  }
}
const start = async more => {
  try {
    const runner = await run({
      pgPool: new Pool(),
      noHandleSignals: true,
      taskList: { hello: () => undefined },
      ...more,
    })
    await runner.stop()
    return 'started'
  } catch {
    return 'refused'
  }
}
console.log(`result: ${await start({})}, ${await start({ parsedCronItems: [] })}`)
process.exit()
END
seen=$(node start.mjs 2>/dev/null | grep '^result' || true)
echo "seen: $seen"
[ "$seen" = 'result: refused, started' ]
