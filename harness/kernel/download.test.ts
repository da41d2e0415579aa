import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import {
  type IncomingMessage,
  type ServerResponse,
  createServer,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { downloadFile } from './download.ts'

const BYTES = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251))
const SHA256 = createHash('sha256').update(BYTES).digest('hex')

type Answer = (request: IncomingMessage, response: ServerResponse) => void

/** A mirror on this machine; each request is answered by the next of these. */
const mirror = async (t: Test, answers: Answer[]) => {
  const ranges: (string | undefined)[] = []
  const server = createServer((request, response) => {
    ranges.push(request.headers.range)
    answers.shift()!(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    ranges,
    offered: {
      url: `http://127.0.0.1:${port}/l.deb`,
      size: BYTES.length,
      sha256: SHA256,
    },
    path: join(t.testdir({}), 'l.deb'),
  }
}

const startOf = ({ headers }: IncomingMessage): number =>
  Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0)

const whole: Answer = (_, response) => response.end(BYTES)

const knowsRanges: Answer = (request, response) => {
  const start = startOf(request)
  response.writeHead(start > 0 ? 206 : 200).end(BYTES.subarray(start))
}

/** Sends a part, and breaks the connection when it has arrived. */
const breaksOff: Answer = (request, response) => {
  const start = startOf(request)
  response.writeHead(start > 0 ? 206 : 200, {
    'content-length': BYTES.length - start,
  })
  response.write(BYTES.subarray(start, start + 100_000), () => {
    response.destroy()
  })
}

t.test('a file, and nothing else', async t => {
  const { offered, path } = await mirror(t, [whole])
  await downloadFile(offered, path)
  t.ok(readFileSync(path).equals(BYTES))
  t.same(readdirSync(join(path, '..')), ['l.deb'])
})

t.test('a download that breaks off goes on where it was', async t => {
  const { offered, path, ranges } = await mirror(t, [breaksOff, knowsRanges])
  await t.rejects(downloadFile(offered, path), {
    code: 'NO_SOURCE',
    exitCode: 3,
    message: /\d+ of 300000 bytes are kept: try again/,
  })
  t.notOk(existsSync(path))
  const kept = readFileSync(`${path}.partial`).length
  await downloadFile(offered, path)
  t.ok(readFileSync(path).equals(BYTES))
  t.same(ranges, [undefined, kept > 0 ? `bytes=${kept}-` : undefined])
})

t.test('a mirror without ranges sends all of it again', async t => {
  const { offered, path, ranges } = await mirror(t, [whole])
  writeFileSync(`${path}.partial`, BYTES.subarray(0, 1000))
  await downloadFile(offered, path)
  t.same(ranges, ['bytes=1000-'])
  t.ok(readFileSync(path).equals(BYTES))
})

t.test('what is complete needs no mirror', async t => {
  const { offered, path, ranges } = await mirror(t, [])
  writeFileSync(`${path}.partial`, BYTES)
  await downloadFile(offered, path)
  t.same(ranges, [])
})

t.test('another file than was offered is thrown away', async t => {
  const other = Buffer.from(BYTES).fill(0, 5, 6)
  const cases: [name: string, answer: Answer, partial: Buffer][] = [
    ['another byte', (_, response) => response.end(other), Buffer.alloc(0)],
    [
      'longer',
      (_, response) => response.end(Buffer.concat([BYTES, BYTES])),
      Buffer.alloc(0),
    ],
    ['shorter', (_, response) => response.end('short'), Buffer.alloc(0)],
    ['another beginning', knowsRanges, Buffer.alloc(2000, 7)],
  ]
  for (const [name, answer, partial] of cases) {
    const { offered, path } = await mirror(t, [answer])
    writeFileSync(`${path}.partial`, partial)
    await t.rejects(
      downloadFile(offered, path),
      { code: 'SIGNATURE', exitCode: 2, message: /thrown away/ },
      name,
    )
    t.same(readdirSync(join(path, '..')), [], name)
  }
})

t.test('no mirror, no file, no byte, no patience', async t => {
  const { offered, path } = await mirror(t, [
    (_, response) => response.writeHead(404).end('gone'),
    () => undefined,
    () => undefined,
  ])
  await t.rejects(downloadFile(offered, path), { message: /answered 404/ })
  await t.rejects(downloadFile(offered, path, { patience: 20 }), {
    code: 'NO_SOURCE',
    message: /nothing was received for 0\.02 s/,
  })
  await t.rejects(
    downloadFile({ ...offered, url: 'http://127.0.0.1:1/' }, path),
    { code: 'NO_SOURCE', message: /ECONNREFUSED|bad port/ },
  )
  const controller = new AbortController()
  const download = downloadFile(offered, path, { signal: controller.signal })
  controller.abort()
  await t.rejects(download, { code: 'INTERRUPTED' })
})
