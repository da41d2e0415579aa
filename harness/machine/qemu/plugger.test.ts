import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import t from 'tap'
import { ANSWER, READY } from '../../guest/protocol.ts'
import { Plugger } from './plugger.ts'
import type { QmpClient } from './qmp.ts'

/** A QEMU that takes every command; what it was told is kept. */
const qemu = (): { qmp: Promise<QmpClient>; told: string[] } => {
  const told: string[] = []
  const client: Pick<QmpClient, 'execute'> = {
    execute: (_, args) => {
      told.push(JSON.stringify(args))
      return Promise.resolve('')
    },
  }
  return { qmp: Promise.resolve(client as QmpClient), told }
}

t.test('a line that is printed twice asks once', async t => {
  const { qmp, told } = qemu()
  const steps = [
    { kind: 'trigger' },
    { kind: 'machine check', at: 'pamt' },
  ] as const
  const plugger = new Plugger(steps, qmp, undefined)
  const pamt = () => 0x10100a000n
  const report = { step: 1, kind: 'machine-check' } as const
  await plugger.update([], pamt)
  t.same(told, [])
  await plugger.update([report], pamt)
  await plugger.update([report, report], pamt)
  t.equal(told.length, 1)
  t.match(told[0], /mce -b 0 1 0x[0-9a-f]{16} 6 0x10100a000 0x86/)
})

t.test('a machine check waits until init is ready for it', async t => {
  const { qmp, told } = qemu()
  const port = new PassThrough()
  const answered = new Promise<string>(resolve => {
    const write = port.write.bind(port)
    port.write = (chunk: string): boolean => {
      resolve(chunk)
      return write(chunk)
    }
  })
  const steps = [{ kind: 'machine check', at: 0x1000 }] as const
  const plugger = new Plugger(
    steps,
    qmp,
    Promise.resolve(port as unknown as Socket),
  )
  const report = { step: 0, kind: 'machine-check' } as const
  const done = plugger.update([report], () => undefined)
  t.equal(await answered, ANSWER)
  t.same(told, [], 'the echo of the answer is not enough')
  port.emit('data', Buffer.from(`\r\n${READY}`))
  await done
  t.equal(told.length, 1)
})

t.test('without a PAMT there is nothing to poison', async t => {
  const { qmp, told } = qemu()
  const steps = [{ kind: 'machine check', at: 'pamt' }] as const
  const plugger = new Plugger(steps, qmp, undefined)
  const report = { step: 0, kind: 'machine-check' } as const
  await plugger.update([report], () => undefined)
  t.same(told, [])
})
