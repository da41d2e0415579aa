import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { median } from '../base/median.ts'
import { projectRoot } from '../base/paths.ts'
import { findKernel } from '../kernel/build.ts'
import { loadRecipe } from '../kernel/recipe.ts'
import {
  NEWEST,
  OLDER,
  PLAIN,
  SERVER,
  bare,
  bareInitramfs,
  start,
  startRun,
  timeUntil,
} from './bench-boots.ts'
import { say } from './bench-tools.ts'

/**
 * `scripts/bench --against REV [PAIRS] [ROW...]`: this revision beside another
 * one, in turn, in one run. Ratios are those of each pair: this one's time by
 * the other's, or by that of a bare QEMU.
 */

const [other = '', ...asked] = process.argv.slice(2)
const PAIRS = Number(asked.find(word => /^\d+$/.test(word)) ?? 7)
const rows = asked.filter(word => !/^\d+$/.test(word))
const KERNELS = [NEWEST, OLDER] as const
/** Boots at a time, to see what one more takes. */
const FEW = 1
const MANY = 4

const folder = mkdtempSync(join(tmpdir(), 'tdxrig-bench-'))
process.on('exit', () => {
  rmSync(folder, { recursive: true, force: true })
})

/** What a process took, with all that it started. */
interface Taken {
  readonly wall: number
  readonly cpu: number
}

/** Seconds of the processor that ended children took (proc(5), fields 16, 17). */
const childSeconds = (): number => {
  const stat = readFileSync('/proc/self/stat', 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[13]) + Number(fields[14])) / 100
}

const taken = async (wall: () => Promise<number>): Promise<Taken> => {
  const before = childSeconds()
  return { wall: await wall(), cpu: childSeconds() - before }
}

const program = (root: string): string => join(root, 'dist/cli/main.js')

const run = (root: string, ...args: string[]): ReturnType<typeof startRun> =>
  startRun(program(root), join(folder, 'out'), args)

const ROOTS = { now: projectRoot(), before: other }
type Side = keyof typeof ROOTS

/** Pairs that fill the caches: a boot leaves a snapshot the second time. */
const FILLING = 2

/** Both in turn, when the caches are full. */
const inTurn = async (
  measure: (root: string) => Promise<Taken>,
  pairs = PAIRS,
): Promise<Record<Side, Taken[]>> => {
  const found: Record<Side, Taken[]> = { now: [], before: [] }
  for (let i = -FILLING; i < pairs; i++)
    for (const side of ['before', 'now'] as const) {
      const one = await measure(ROOTS[side])
      if (i >= 0) found[side].push(one)
    }
  return found
}

const ratios = (
  a: readonly Taken[],
  b: readonly Taken[],
  of: keyof Taken,
): number[] => a.map((one, i) => one[of] / b[i]![of])

const show = (
  what: string,
  values: readonly number[],
  target?: string,
): void => {
  const [low, high] = [Math.min(...values), Math.max(...values)]
  say(
    `${what.padEnd(52)} ${median(values).toFixed(2)}, from ${low.toFixed(2)} to ${high.toFixed(2)}${target === undefined ? '' : ` (target: at most ${target})`}`,
  )
}

/**
 * Bare boots of Debian's 6.12 that virtme-ng takes to run `true` on it, under
 * TCG: 81.6 s, measured on 2026-11-28 with its source of August 2026.
 */
const VIRTME_NG = 9.5

/** Process start to verdict, beside a bare boot to its power-off. */
const verdict = async (): Promise<void> => {
  for (const name of KERNELS) {
    const kernel = await findKernel(await loadRecipe(name))
    if (!kernel) throw new Error(`${name} is not built: run ./scripts/setup`)
    const initramfs = await bareInitramfs(kernel, folder)
    const boots: Taken[] = []
    const whole: Taken[] = []
    const early: Taken[] = []
    const found = await inTurn(async root => {
      const args = [join(root, PLAIN), '--kernel', name]
      const one = await taken(() => timeUntil(run(root, ...args), 'pass'))
      if (root === ROOTS.before) return one
      boots.push(
        await taken(() => timeUntil(bare(kernel, initramfs), undefined)),
      )
      const again = async (option: string): Promise<Taken> =>
        taken(() => timeUntil(run(root, ...args, option), 'pass'))
      whole.push(await again('--no-shortcuts'))
      // Only there the outcome comes before init.
      if (name === NEWEST) early.push(await again('--stop-at-outcome'))
      return one
    })
    for (const measured of [boots, whole, early]) measured.splice(0, FILLING)
    say(`process start to verdict, two nodes, 4 GiB, ${name}`)
    show('  by a bare boot', ratios(found.now, boots, 'wall'), '0.60')
    show('  with --no-shortcuts', ratios(whole, boots, 'wall'))
    if (early.length > 0)
      show('  with --stop-at-outcome', ratios(early, boots, 'wall'), '0.60')
    show('  the same before', ratios(found.before, boots, 'wall'))
    const mine = median(ratios(found.now, boots, 'wall'))
    // It was measured with that kernel, as Debian configures it.
    if (name === OLDER)
      say(
        `  virtme-ng takes ${VIRTME_NG} bare boots: ${(VIRTME_NG / mine).toFixed(1)} times as long (target: at least 15)`,
      )
    show('  by that of before', ratios(found.now, found.before, 'wall'))
    show(
      '  CPU seconds by those of before',
      ratios(found.now, found.before, 'cpu'),
    )
  }
}

const large = async (): Promise<void> => {
  const found = await inTurn(
    root => {
      const args = [join(root, SERVER), '--kernel', 'mainline-7.3-server']
      return taken(() => timeUntil(run(root, ...args), 'pass'))
    },
    Math.min(PAIRS, 3),
  )
  say('256 GiB, two sockets, 16 CPUs')
  show('  by that of before', ratios(found.now, found.before, 'wall'), '0.50')
  show(
    '  CPU seconds by those of before',
    ratios(found.now, found.before, 'cpu'),
  )
}

/** The scenarios of the other revision, which both have. */
const matrix = async (): Promise<void> => {
  // Not --kernel: it would ask for cases that are for others.
  const kernels = KERNELS.flatMap(name => ['--filter', `@${name}`])
  const args = [join(other, 'scenarios'), '--jobs', '2', ...kernels]
  const all = (root: string): Promise<Taken> =>
    taken(() => timeUntil(run(root, ...args), undefined))
  say(`shipped matrix, --jobs 2, ${KERNELS.join(' and ')}`)
  const before = await all(ROOTS.before)
  // The second run leaves snapshots, and the third one goes on from them.
  for (const time of ['first', 'second', 'third']) {
    const now = await all(ROOTS.now)
    const target = time === 'third' ? '0.60' : undefined
    show(`  CPU seconds of the ${time}`, [now.cpu / before.cpu], target)
    show(`  time of the ${time}`, [now.wall / before.wall])
  }
}

/** What stands on stdout of a program that ends well. */
const output = async (file: string, ...args: string[]): Promise<string> => {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${file} ended with ${code ?? 'a signal'}`)
  return text
}

type Rates = Record<'predictions' | 'consoleMegabytes', number>

/** scripts/bench has bundled these with the sources of each. */
const rates = async (): Promise<void> => {
  const found: Record<Side, Rates[]> = { now: [], before: [] }
  for (let i = 0; i < 3; i++)
    for (const side of ['before', 'now'] as const)
      found[side].push(
        JSON.parse(
          await output(
            process.execPath,
            join(ROOTS[side], 'dist/testing/bench-rates.js'),
          ),
        ) as Rates,
      )
  const by = (of: keyof Rates): number[] =>
    found.now.map((one, i) => one[of] / found.before[i]![of])
  say('what boots nothing, times as many a second (target: 3.00)')
  show('  predictions', by('predictions'))
  show('  bytes of a console', by('consoleMegabytes'))
  const log = join(
    projectRoot(),
    'harness/console/golden/upstream-6.12-two-uneven.txt',
  )
  const explained = await inTurn(root =>
    taken(() =>
      timeUntil(
        start(process.execPath, [program(root), 'explain', log]),
        undefined,
      ),
    ),
  )
  show(
    '  explain of a dmesg, time by that of before',
    ratios(explained.now, explained.before, 'wall'),
    '0.60',
  )
}

/** Peak resident memory of a process, in MiB (proc(5), VmHWM). */
const peakOf = async (root: string, jobs: number): Promise<number> => {
  const child = run(
    root,
    join(other, 'scenarios/plain'),
    '--jobs',
    String(jobs),
    '--kernel',
    OLDER,
  )
  let peak = 0
  child.stdout?.on('data', () => {
    try {
      const status = readFileSync(`/proc/${child.pid!}/status`, 'latin1')
      peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? peak)
    } catch {
      // It has ended.
    }
  })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0 || peak === 0)
    throw new Error(`a measured run ended with ${code ?? 'a signal'}`)
  return peak / 1024
}

const memory = async (): Promise<void> => {
  say('memory of the rig itself for one more boot at a time, MiB')
  for (const side of ['before', 'now'] as const) {
    const more: number[] = []
    for (let i = 0; i < 3; i++) {
      const few = await peakOf(ROOTS[side], FEW)
      more.push((await peakOf(ROOTS[side], MANY)) - few)
    }
    show(
      `  ${side}`,
      more.map(value => value / (MANY - FEW)),
    )
  }
}

/** Characters: the tests say some million. */
const LAST_WORDS = 4_000_000

/** A script that has ended. */
interface Scripted extends Taken {
  readonly code: number | null
  /** On stdout, or the end of that. */
  readonly said: string
}

/** A script in a folder, until it says something or ends. */
const scripted = async (
  root: string,
  script: string,
  {
    env = {},
    until,
  }: { readonly env?: NodeJS.ProcessEnv; until?: RegExp } = {},
): Promise<Scripted> => {
  const begin = performance.now()
  const before = childSeconds()
  // A group of its own: what it has started ends with it.
  const child = spawn(join(root, 'scripts', script), {
    cwd: root,
    detached: true,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  let found: number | undefined
  child.stdout.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-LAST_WORDS)
    if (!until?.test(said) || found !== undefined) return
    found = performance.now()
    try {
      process.kill(-child.pid!, 'SIGTERM')
    } catch {
      // It has ended, and only its output was left.
    }
  })
  const [code] = (await once(child, 'close')) as [number | null]
  if (until && found === undefined)
    throw new Error(
      `${script} in ${root} ended with ${code ?? 'a signal'}, and never said ${String(until)}:\n${telling(said)}`,
    )
  const wall = ((found ?? performance.now()) - begin) / 1000
  return { wall, cpu: childSeconds() - before, code, said }
}

/** What failed, of a script that ran tests; else its last words. */
const telling = (said: string): string => {
  const lines = said.trimEnd().split('\n')
  const failed = lines.filter(line => /^\s*not ok/.test(line))
  return (failed.length > 0 ? failed : lines.slice(-20)).join('\n')
}

/**
 * What tests came to, as `.ci/run` counts them. What fails is named and does not
 * end this: an old revision may well have a test that fails now and then.
 */
const counted = async (
  side: Side,
  { wall, cpu, said }: Scripted,
): Promise<string> => {
  const file = join(folder, `${side}.tap`)
  writeFileSync(file, said)
  const summary = join(ROOTS.now, 'dist/testing/tap-summary.js')
  const child = start(process.execPath, [summary, file])
  const text = await textOf(child.stdout!)
  const total = text.trimEnd().split('\n').at(-1) ?? ''
  if (total.startsWith('0 passed'))
    throw new Error(`no test was run in ${ROOTS[side]}:\n${telling(said)}`)
  const failed = total.includes(' 0 failed') ? '' : `\n${telling(said)}`
  return `${wall.toFixed(0)} s, ${cpu.toFixed(0)} s of CPUs, ${total}${failed}`
}

/** Kernels, packages and bundles are there on both sides. */
const tests = async (): Promise<void> => {
  say('scripts/test, warm')
  const built = await scripted(other, 'build')
  if (built.code !== 0)
    throw new Error(`${other} cannot be built:\n${telling(built.said)}`)
  const found: Partial<Record<Side, Scripted>> = {}
  for (const side of ['now', 'before'] as const) {
    const one = await scripted(ROOTS[side], 'test')
    found[side] = one
    say(`  ${side}: ${await counted(side, one)}`)
  }
  const [now, before] = [[found.now!], [found.before!]]
  show('  time by that of before', ratios(now, before, 'wall'), '0.60')
  show('  CPU seconds by those of before', ratios(now, before, 'cpu'))
}

/**
 * Nothing is cached but Debian's packages. What the sides have made is removed
 * at the end: creating files right behind that takes longer (recently_deleted(),
 * fs/ext4/ialloc.c).
 */
const clone = async (): Promise<void> => {
  const times = { now: 0, before: 0 }
  for (const side of ['now', 'before'] as const) {
    const home = mkdtempSync(join(folder, side))
    const root = join(home, 'clone')
    await output('git', 'clone', '--quiet', ROOTS[side], root)
    const { wall } = await scripted(root, 'run', {
      env: { XDG_CACHE_HOME: home, npm_config_cache: join(home, 'npm') },
      until: /^ *pass /m,
    })
    times[side] = wall
    say(`  ${side}: ${times[side].toFixed(0)} s`)
  }
  say('first verdict of a fresh clone')
  show('  time by that of before', [times.now / times.before], '0.30')
}

const USUAL = { rates, verdict, memory, large, matrix }
/** They take half an hour and more. */
const ON_REQUEST = { tests, clone }
const ROWS = { ...USUAL, ...ON_REQUEST }

const unknown = rows.filter(name => !(name in ROWS))
if (unknown.length > 0) {
  process.stderr.write(
    `bench: expected rows of ${Object.keys(ROWS).join(', ')}, found ${unknown.join(', ')}\n`,
  )
  process.exitCode = 2
} else {
  say(`load when it began: ${loadavg()[0]!.toFixed(2)}; ${PAIRS} pairs in turn`)
  for (const [name, measure] of Object.entries(ROWS))
    if (rows.length === 0 ? name in USUAL : rows.includes(name)) await measure()
  say(`load when it ended: ${loadavg()[0]!.toFixed(2)}`)
}
