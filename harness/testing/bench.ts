import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { projectRoot } from '../base/paths.ts'
import { buildInit } from '../guest/init.ts'
import { buildInitramfs } from '../guest/initramfs.ts'
import { findKernel } from '../kernel/build.ts'
import type { BuiltKernel } from '../kernel/cache.ts'
import { loadRecipe } from '../kernel/recipe.ts'
import { consoles, explanations, predictions } from './bench-pure.ts'
import { MAIN, row, say } from './bench-tools.ts'

/**
 * The figures the rig promises, measured, each with the bare run of QEMU
 * beside it. Machines are noisy: the two are run in turn and the ratio is that
 * of each pair.
 */

const PAIRS = Number(process.argv[2] ?? 10)
const KERNEL = 'upstream-6.12'
/** Initialises TDX as it boots, and reads all metadata. */
const NEWEST = 'mainline-7.3'
const scenario = (name: string): string =>
  join(projectRoot(), 'scenarios', `${name}.yaml`)
const PLAIN = scenario('plain/two-uneven-nodes')
const SERVER = scenario('large/two-sockets')

const folder = mkdtempSync(join(tmpdir(), 'tdxrig-bench-'))
process.on('exit', () => {
  rmSync(folder, { recursive: true, force: true })
})

const start = (file: string, args: readonly string[]): ChildProcess =>
  spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'] })

/** Milliseconds from the start of a process until it prints this, or ends. */
const timeUntil = async (
  child: ChildProcess,
  text: string | undefined,
): Promise<number> => {
  const begin = performance.now()
  let seen = ''
  let found: number | undefined
  child.stdout?.on('data', (chunk: Buffer) => {
    if (text === undefined) return
    seen += chunk.toString('latin1')
    if (seen.includes(text)) found ??= performance.now() - begin
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  const end = performance.now() - begin
  if (code !== 0)
    throw new Error(`a measured run ended with ${code ?? 'a signal'}`)
  if (text !== undefined && found === undefined)
    throw new Error(`'${text}' was never printed`)
  return found ?? end
}

/** The same machine, booted by QEMU alone until it powers off. */
const bare = (kernel: BuiltKernel, initramfs: string): ChildProcess =>
  start('qemu-system-x86_64', [
    '-nodefaults',
    '-no-user-config',
    '-display',
    'none',
    '-no-reboot',
    '-machine',
    'q35',
    '-accel',
    'tcg',
    '-cpu',
    'max,vendor=GenuineIntel,family=6,model=143,stepping=8',
    '-smp',
    'cpus=2,sockets=2',
    '-m',
    '4G',
    '-object',
    'memory-backend-ram,id=m0,size=2560M',
    '-object',
    'memory-backend-ram,id=m1,size=1536M',
    '-numa',
    'node,memdev=m0,cpus=0',
    '-numa',
    'node,memdev=m1,cpus=1',
    '-kernel',
    kernel.bzImage ?? kernel.vmlinux,
    '-initrd',
    initramfs,
    '-append',
    'console=ttyS0 panic=-1',
    '-serial',
    'stdio',
  ])

const rig = (kernel: string, ...args: string[]): ChildProcess =>
  start(process.execPath, [
    MAIN,
    'run',
    '--accel',
    'tcg',
    '--kernel',
    kernel,
    '--out',
    join(folder, 'out'),
    ...args,
  ])

const timeToVerdict = async (
  kernel: BuiltKernel,
  init: string,
): Promise<void> => {
  const initramfs = join(folder, 'initramfs')
  writeFileSync(
    initramfs,
    await buildInitramfs({
      init,
      trigger: kernel.trigger,
      tdxHost: undefined,
    }),
  )
  const ours: number[] = []
  const theirs: number[] = []
  for (let i = 0; i <= PAIRS; i++) {
    const a = await timeUntil(rig(KERNEL, PLAIN), 'pass')
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
    const b = await timeUntil(rig(KERNEL, path), 'pass')
    if (i > 0) {
      newest.push(a)
      older.push(b)
    }
  }
  say(`${what}, ${NEWEST} against ${KERNEL}, ${PAIRS} pairs in turn`)
  say(row(`  ${NEWEST}`, newest, 'ms'))
  say(row(`  ${KERNEL}`, older, 'ms'))
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
  const child = rig(KERNEL, '--jobs', '2')
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
const kernel = await findKernel(await loadRecipe(KERNEL))
if (!kernel) throw new Error(`${KERNEL} is not built: run ./scripts/setup`)
await timeToVerdict(kernel, await buildInit(AbortSignal.timeout(60_000)))
await newestAgainst612('two nodes, 4 GiB', PLAIN, 'at most 1.15')
await newestAgainst612('16 CPUs, two sockets', SERVER, 'at most 1.20')
await matrix()
