import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import * as z from 'zod'
import { InfraError, messageOf } from '../../base/errors.ts'
import type { FoundMachine } from '../../board/index.ts'
import type { Verdict } from '../../judge/context.ts'
import { E820 } from '../../memory/e820.ts'
import { keyText } from '../../night/attempts.ts'
import { type Bench, faultOf } from '../../night/bench.ts'
import { withNights } from '../../night/database.ts'
import { Spool } from '../../night/spool.ts'
import { type HostStation, NightWorker } from '../../night/worker.ts'
import { GIB } from '../../base/units.ts'
import { chance } from './chance.ts'

/**
 * A worker whose machines are made: boots are scripted, and take as long and
 * fail as often as they are told to. The queue, the database and all else of a
 * worker are real. It is started by the simulation, as a process of its own.
 */

const madeSchema = z.strictObject({
  url: z.string(),
  name: z.string(),
  hosts: z.array(z.string()),
  qemuJobs: z.int(),
  seed: z.string(),
  /** Where hosts, ledgers and the spool are. */
  folder: z.string(),
  /** What must have room. */
  roomFolder: z.string(),
  room: z.int(),
  /** Milliseconds of a boot. */
  bootMs: z.number(),
  /** How often the rig fails in a boot. */
  errorRate: z.number(),
})
export type MadeWorker = z.output<typeof madeSchema>

/** What a scenario of the simulation says about its kernel. */
const madeInput = z.object({
  made: z.object({ failureRate: z.number(), body: z.string() }),
})

/** How long a made host stays in a test boot without its worker. */
export const LEASE_MS = 3_000

/** A made host: its state is a file, as that of a real one is on its disk. */
export const hostFile = (folder: string, host: string): string =>
  join(folder, `host-${host}`)

/** A host that is dead answers nobody. */
const isDead = (folder: string, host: string): boolean => {
  try {
    return readFileSync(join(folder, `dead-${host}`)).length >= 0
  } catch {
    return false
  }
}

const FOUND: FoundMachine = {
  e820: [{ start: 0, end: 4 * GIB, type: E820.RAM }],
  srat: undefined,
  cpus: 1,
  packageOf: [0],
  nodeCpus: [],
  keyids: undefined,
  cmrs: undefined,
}

const pack = promisify(gzip)

const start = async (made: MadeWorker): Promise<void> => {
  const controller = new AbortController()
  const { signal } = controller
  // A clock that jumps: everything in this process that asks for the time.
  process.on('SIGUSR2', () => {
    const real = Date.now.bind(Date)
    const jump = 3_600_000
    Date.now = () => real() + jump
  })
  const log = (kind: string, text: string): void => {
    process.stderr.write(`${made.name}  ${kind}  ${text}\n`)
  }
  let boots = 0
  const bench = (machine: string, host?: string): Bench => ({
    boot: async ({ attempt, begun }, bootSignal) => {
      try {
        if (host !== undefined) {
          if (isDead(made.folder, host))
            throw new InfraError('HOST_UNREACHABLE', `${host} does not answer`)
          writeFileSync(
            hostFile(made.folder, host),
            `test ${Date.now() + LEASE_MS}`,
          )
        }
        const { made: says } = madeInput.parse(JSON.parse(begun.input))
        await setTimeout(made.bootMs, undefined, { signal: bootSignal })
        const draw = [made.seed, begun.id, machine, process.pid, boots++]
        if (chance('error', ...draw) < made.errorRate)
          throw new InfraError('MADE', 'the made machine failed')
        const verdict: Verdict =
          chance('fail', ...draw) < says.failureRate ? 'fail' : 'pass'
        if (host !== undefined)
          writeFileSync(hostFile(made.folder, host), 'home')
        const body = says.body
          .replace('"verdict":"pass"', `"verdict":"${verdict}"`)
          .replace('"id":""', `"id":${JSON.stringify(begun.id)}`)
        // What was judged, whatever becomes of it now.
        appendFileSync(
          join(made.folder, `ledger-${made.name}`),
          `${keyText(attempt)} ${verdict}\n`,
        )
        return {
          verdict,
          machine,
          totalMs: made.bootMs,
          message: verdict === 'pass' ? null : 'the made kernel failed',
          body: await pack(body),
          console: verdict === 'pass' ? null : await pack('made\n'),
        }
      } catch (error) {
        return faultOf(machine, error, bootSignal)
      }
    },
  })
  await withNights(
    made.url,
    { onWait: () => undefined, connections: 6 + made.hosts.length },
    async place => {
      const worker = await NightWorker.start({
        place,
        name: made.name,
        machine: made.name,
        version: 'made',
        qemu:
          made.qemuJobs > 0
            ? {
                jobs: made.qemuJobs,
                kvm: false,
                board: 'made',
                benches: { qemu: bench(made.name) },
              }
            : undefined,
        hosts: made.hosts.map((name): HostStation => ({
          name,
          labels: ['made'],
          ...bench(name, name),
          look: () =>
            isDead(made.folder, name)
              ? Promise.reject(
                  new InfraError('HOST_UNREACHABLE', `${name} does not answer`),
                )
              : Promise.resolve(FOUND),
          letGo: () => {
            if (!isDead(made.folder, name))
              writeFileSync(hostFile(made.folder, name), 'home')
            return Promise.resolve()
          },
        })),
        build: () => Promise.resolve({ key: 'made', release: '7.3.0' }),
        spool: new Spool(join(made.folder, `spool-${made.name}`)),
        folder: made.roomFolder,
        room: made.room,
        signal,
        onLog: log,
      })
      process.stdout.write('ready\n')
      const stop = new Promise<void>(resolve => {
        process.on('SIGTERM', resolve)
      })
      await Promise.race([stop, worker.askedToDrain])
      await worker.drain()
    },
  )
}

const [, , json] = process.argv
if (json !== undefined && process.argv[1]?.endsWith('made-worker.js') === true)
  try {
    await start(madeSchema.parse(JSON.parse(json)))
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`)
    process.exitCode = 1
  }
