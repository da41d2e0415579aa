import { appendFileSync, writeFileSync } from 'node:fs'
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
import { type MadeWorker, hostFile, isDead, madeSchema } from './made-hosts.ts'

/**
 * A worker whose machines are made: boots are scripted, and take as long and
 * fail as often as they are told to. The queue, the database and all else of a
 * worker are real. It is started by the simulation, as a process of its own.
 */

/** What a scenario of the simulation says about its kernel. */
const madeInput = z.object({
  made: z.object({ failureRate: z.number(), body: z.string() }),
})

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
          // It stays in the test kernel until it is given back.
          writeFileSync(hostFile(made.folder, host), 'test')
        }
        const { made: says } = madeInput.parse(JSON.parse(begun.input))
        await setTimeout(made.bootMs, undefined, { signal: bootSignal })
        const draw = [made.seed, begun.id, machine, process.pid, boots++]
        if (chance('error', ...draw) < made.errorRate)
          throw new InfraError('MADE', 'the made machine failed')
        const verdict: Verdict =
          chance('fail', ...draw) < says.failureRate ? 'fail' : 'pass'
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

try {
  await start(madeSchema.parse(JSON.parse(process.argv[2] ?? '')))
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`)
  process.exitCode = 1
}
