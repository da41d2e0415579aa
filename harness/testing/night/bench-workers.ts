import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { sql } from 'kysely'
import { median } from '../../base/median.ts'
import { projectRoot } from '../../base/paths.ts'
import { type NightPlace, withNights } from '../../night/database.ts'
import { documentSchema } from '../../report/schema.ts'
import { startPostgres } from '../postgres.ts'

/**
 * `scripts/bench workers [PAIRS]`: a matrix of real boots, by `run --jobs 2`
 * and by two workers of one boot each, one beside the other; then the seconds
 * after which the case of a worker that was killed is booted again.
 */

const KERNEL = 'mainline-7.3'
const scenarios = join(projectRoot(), 'scenarios/plain')
const program = join(projectRoot(), 'dist/cli/main.js')
const pairs = Number(process.argv[2] ?? 3)

const folder = mkdtempSync('/tmp/tdxtest-workers-')
const ends: (() => unknown)[] = [
  () => {
    rmSync(folder, { recursive: true, force: true })
  },
]
const server = await startPostgres({
  teardown: end => {
    ends.unshift(end as () => unknown)
  },
})
const url = await server.create('bench')

const start = (
  args: readonly string[],
  name = 'leader',
): { readonly child: ChildProcess; readonly said: () => string } => {
  let said = ''
  const child = spawn(process.execPath, [program, ...args], {
    cwd: folder,
    env: {
      ...process.env,
      DATABASE_URL: url,
      TDXRIG_WORKER: name,
      XDG_DATA_HOME: join(folder, 'data'),
      XDG_STATE_HOME: join(folder, 'state'),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
  return { child, said: () => said }
}

/** Milliseconds of a command that must end well. */
const timed = async (args: readonly string[]): Promise<number> => {
  const begin = performance.now()
  const { child, said } = start(args)
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0)
    throw new Error(`${args.join(' ')}: exit code ${String(code)}\n${said()}`)
  return performance.now() - begin
}

/** Milliseconds from the first boot of the newest night to the last result. */
const bootsOf = async ({ db }: NightPlace): Promise<number> => {
  const { rows } = await sql<{ ms: number }>`
    select extract(epoch from max(ended) - min(started))::float * 1000 as ms
    from night_attempts where night_id = (select max(id) from nights)`.execute(
    db,
  )
  return rows[0]!.ms
}

/** Waits for a row. @returns it */
const rowOf = async <T>(
  { db }: NightPlace,
  query: ReturnType<typeof sql<T>>,
): Promise<T> => {
  for (;;) {
    const { rows } = await query.execute(db)
    if (rows[0]) return rows[0]
    await setTimeout(20)
  }
}

const nightArgs = (number: number): string[] => [
  'night',
  'run',
  'night.yaml',
  '--no-worker',
  '--out',
  `o${number}`,
]

/** Milliseconds from the start of a run's boots to their end. */
const boots = async (number: number): Promise<number> => {
  await timed([
    'run',
    '--jobs',
    '2',
    '--accel',
    'tcg',
    '--kernel',
    KERNEL,
    '--quiet',
    '--out',
    `r${number}`,
    scenarios,
  ])
  const text = readFileSync(join(folder, `r${number}`, 'result.json'), 'utf8')
  return documentSchema.parse(JSON.parse(text)).durationMs
}

/** Kills the worker that has a boot. @returns seconds until it begins again */
const afterKill = async (
  place: NightPlace,
  workers: ReadonlyMap<string, ChildProcess>,
): Promise<number> => {
  const night = timed(nightArgs(pairs))
  const held = await rowOf<{ cell: number; worker: string }>(
    place,
    sql`select cell, worker from night_attempts
      where night_id = (select max(id) from nights) and state = 'running'
        and worker is not null`,
  )
  workers.get(held.worker)!.kill('SIGKILL')
  const killed = performance.now()
  await rowOf(
    place,
    sql`select 1 from night_attempts
      where night_id = (select max(id) from nights) and cell = ${held.cell}
        and lost > 0 and state <> 'queued'`,
  )
  const seconds = (performance.now() - killed) / 1000
  await night
  return seconds
}

try {
  await withNights(
    url,
    { onWait: () => undefined, connections: 4 },
    async place => {
      writeFileSync(
        join(folder, 'night.yaml'),
        `name: bench
machines: { qemu: { qemu: tcg } }
runs:
  - { scenarios: [${scenarios}], kernels: [${KERNEL}], machines: [qemu] }
`,
      )
      const workers = new Map(
        ['a', 'b'].map(name => [
          name,
          start(['worker', '--jobs', '1'], name).child,
        ]),
      )
      ends.unshift(() => {
        for (const child of workers.values()) child.kill('SIGKILL')
      })
      const ratios: number[] = []
      for (let i = 0; i < pairs; i++) {
        const run = await boots(i)
        const whole = await timed(nightArgs(i))
        const night = await bootsOf(place)
        ratios.push(run / night)
        process.stdout.write(
          `run --jobs 2: ${(run / 1000).toFixed(1)} s; two workers: ${(night / 1000).toFixed(1)} s, ratio ${(run / night).toFixed(2)}; the whole night ${(whole / 1000).toFixed(1)} s\n`,
        )
      }
      process.stdout.write(`median: ${median(ratios).toFixed(2)}\n`)
      const seconds = await afterKill(place, workers)
      process.stdout.write(
        `the case of a killed worker began again after ${seconds.toFixed(1)} s\n`,
      )
    },
  )
} finally {
  for (const end of ends) await end()
}
