import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { projectRoot } from '../base/paths.ts'
import { findKernel } from '../kernel/build.ts'
import type { BuiltKernel } from '../kernel/cache.ts'
import { loadRecipe } from '../kernel/recipe.ts'
import { consoles, explanations, predictions } from './bench-pure.ts'
import {
  NEWEST,
  OLDER,
  PLAIN,
  SERVER,
  bare,
  bareInitramfs,
  startRun,
  timeUntil,
} from './bench-boots.ts'
import { MAIN, row, say } from './bench-tools.ts'

/**
 * The figures the rig promises, measured, each with the bare run of QEMU
 * beside it. Machines are noisy: the two are run in turn and the ratio is that
 * of each pair.
 */

const PAIRS = Number(process.argv[2] ?? 10)
const scenario = (path: string): string => join(projectRoot(), path)

const folder = mkdtempSync(join(tmpdir(), 'tdxrig-bench-'))
process.on('exit', () => {
  rmSync(folder, { recursive: true, force: true })
})

const rig = (kernel: string, ...args: string[]): ChildProcess =>
  startRun(MAIN, join(folder, 'out'), ['--kernel', kernel, ...args])

const timeToVerdict = async (kernel: BuiltKernel): Promise<void> => {
  const initramfs = await bareInitramfs(kernel, folder)
  const ours: number[] = []
  const theirs: number[] = []
  for (let i = 0; i <= PAIRS; i++) {
    const a = await timeUntil(rig(OLDER, scenario(PLAIN)), 'pass')
    const b = await timeUntil(bare(kernel, initramfs), undefined)
    // The first pair warms the page cache.
    if (i > 0) {
      ours.push(a)
      theirs.push(b)
    }
  }
  say(`two nodes, 4 GiB, ${PAIRS} pairs in turn`)
  say(row('  tdxrig, process start to verdict', ours, 'ms'))
  say(row('  bare qemu -kernel bzImage, to power-off', theirs, 'ms'))
  const ratios = ours.map((time, i) => time / theirs[i]!)
  say(`${row('  ratio of each pair', ratios, 'x')} (target: at most 1.00)`)
}

/** Times to a verdict on the newest kernel and on 6.12, in turn. */
const newestAgainst612 = async (
  what: string,
  path: string,
  target: string,
): Promise<void> => {
  const newest: number[] = []
  const older: number[] = []
  for (let i = 0; i <= PAIRS; i++) {
    const a = await timeUntil(rig(NEWEST, path), 'pass')
    const b = await timeUntil(rig(OLDER, path), 'pass')
    if (i > 0) {
      newest.push(a)
      older.push(b)
    }
  }
  say(`${what}, ${NEWEST} against ${OLDER}, ${PAIRS} pairs in turn`)
  say(row(`  ${NEWEST}`, newest, 'ms'))
  say(row(`  ${OLDER}`, older, 'ms'))
  const ratios = newest.map((time, i) => time / older[i]!)
  say(`${row('  ratio of each pair', ratios, 'x')} (target: ${target})`)
}

/** Peak resident memory of a process, in KiB (proc(5), VmHWM). */
const peakMemory = (pid: number): number => {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0)
  } catch {
    return 0
  }
}

const matrix = async (): Promise<void> => {
  const child = rig(OLDER, '--jobs', '2')
  let output = ''
  let peak = 0
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString('latin1')
    peak = Math.max(peak, peakMemory(child.pid!))
  })
  const begin = performance.now()
  await once(child, 'exit')
  const minutes = (performance.now() - begin) / 60_000
  const cases = (output.match(/^(?:pass|FAIL|INVALID|ERROR) /gm) ?? []).length
  say(`shipped matrix, --jobs 2`)
  say(
    `  cases a minute                           ${(cases / minutes).toFixed(0)} (${cases} cases; target: at least 40)`,
  )
  say(
    `  peak memory of the rig itself            ${(peak / 1024).toFixed(0)} MiB (target: under 250)`,
  )
}

predictions()
consoles()
await explanations()
const kernel = await findKernel(await loadRecipe(OLDER))
if (!kernel) throw new Error(`${OLDER} is not built: run ./scripts/setup`)
await timeToVerdict(kernel)
await newestAgainst612('two nodes, 4 GiB', scenario(PLAIN), 'at most 1.15')
await newestAgainst612('16 CPUs, two sockets', scenario(SERVER), 'at most 1.20')
await matrix()
