#!/bin/sh
# On PostgreSQL, BullMQ's leases are by the clocks of its clients, not by that
# of the database: a worker whose clock is an hour ahead takes a job from another
# one that is alive and renews its lease in time. Guess: a lease in a database is
# measured by the database, as BullMQ's are on Redis (keys that expire).
#
# Seen: 2026-11-29, bullmq 6.7.0 on PostgreSQL 15.18 with two processes, and on
# PGlite 0.5.14 as below, where the clock of the machine jumps: worker a holds
# the job, renews every 5 s and has 10 s; b's first check calls the job stalled
# and b does it a second time, while a is at it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts \
  bullmq@6.7.0 @electric-sql/pglite@0.5.14 >/dev/null
cat >clock.mjs <<'END'
import { EventEmitter } from 'node:events'
import { PGlite } from '@electric-sql/pglite'
import { Queue, Worker, createPostgresBackend, runMigrations } from 'bullmq'

const db = await PGlite.create()
const query = async (text, values) =>
  values?.length ? db.query(text, values) : (await db.exec(text)).at(-1)
class Client extends EventEmitter {
  async query(one, given) {
    const { text, values = given } = typeof one === 'string' ? { text: one } : one
    const answer = await query(text, values)
    const rows = answer?.rows ?? []
    return { rows, rowCount: answer?.affectedRows || rows.length }
  }
  release() {}
}
class Pool extends EventEmitter {
  options = { max: 4 }
  async connect() {
    const client = new Client()
    db.onNotification((channel, payload) =>
      client.emit('notification', { channel, payload }),
    )
    return client
  }
  query(...words) {
    return new Client().query(...words)
  }
  end() {}
}
const pool = new Pool()
await runMigrations(new Client(), 'bullmq')
await db.exec('set search_path to bullmq')
const connection = pool
const queue = new Queue('q', { connection }, createPostgresBackend)
await queue.add('job', {})
const began = []
const worker = name =>
  new Worker(
    'q',
    async () => {
      began.push(name)
      await new Promise(resolve => setTimeout(resolve, name === 'a' ? 6000 : 10))
    },
    {
      connection,
      lockDuration: 10_000,
      stalledInterval: 1000,
      maxStalledCount: 9,
    },
    createPostgresBackend,
  )
worker('a').on('error', () => undefined)
while (began.length === 0) await new Promise(resolve => setTimeout(resolve, 50))
// All of this process is in the future now, as a machine whose clock jumped.
const real = Date.now.bind(Date)
Date.now = () => real() + 3_600_000
worker('b').on('error', () => undefined)
await new Promise(resolve => setTimeout(resolve, 4000))
console.log(`began: ${began.join(', ')}`)
process.exit()
END
seen=$(node clock.mjs 2>&1 | grep '^began' || true)
echo "seen: $seen"
[ "$seen" = 'began: a, b' ]
