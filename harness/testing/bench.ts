import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { projectRoot } from '../base/paths.ts'
import { GIB, MIB } from '../base/units.ts'
import { buildInit } from '../image/init.ts'
import { buildInitramfs } from '../image/initramfs.ts'
import { findKernel } from '../kernel/build.ts'
import type { BuiltKernel } from '../kernel/cache.ts'
import { loadRecipe } from '../kernel/recipe.ts'
import { E820 } from '../memory/e820.ts'
import { predictLayout } from '../memory/predict.ts'
import { MEMORY_RULES } from '../memory/rules.ts'
import { readSrat } from '../memory/srat.ts'
import { MODULE_LIMITS } from '../tdx/platform.ts'

/**
 * The figures the rig promises, measured, each with the bare run of QEMU
 * beside it. Machines are noisy: the two are run in turn and the ratio is that
 * of each pair.
 */

const PAIRS = Number(process.argv[2] ?? 10)
const KERNEL = 'upstream-6.12'
const MAIN = join(projectRoot(), 'dist', 'cli', 'main.js')
const PLAIN = join(projectRoot(), 'scenarios', 'plain', 'two-uneven-nodes.yaml')

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
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-machine', 'q35', '-accel', 'tcg'],
    ...['-cpu', 'max,vendor=GenuineIntel,family=6,model=143,stepping=8'],
    ...['-smp', 'cpus=2,sockets=2', '-m', '4G'],
    ...['-object', 'memory-backend-ram,id=m0,size=2560M'],
    ...['-object', 'memory-backend-ram,id=m1,size=1536M'],
    ...['-numa', 'node,memdev=m0,cpus=0', '-numa', 'node,memdev=m1,cpus=1'],
    ...['-kernel', kernel.bzImage ?? kernel.vmlinux, '-initrd', initramfs],
    ...['-append', 'console=ttyS0 panic=-1', '-serial', 'stdio'],
  ])

const rig = (...args: string[]): ChildProcess =>
  start(process.execPath, [
    MAIN,
    'run',
    '--accel',
    'tcg',
    '--kernel',
    KERNEL,
    '--out',
    join(folder, 'out'),
    ...args,
  ])

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2
    ? sorted[middle]!
    : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const row = (what: string, values: readonly number[], unit: string): string => {
  const show = (value: number): string => value.toFixed(unit === 'ms' ? 0 : 2)
  return `${what.padEnd(42)} median ${show(median(values))} ${unit}, from ${show(Math.min(...values))} to ${show(Math.max(...values))}`
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

const timeToVerdict = async (
  kernel: BuiltKernel,
  init: string,
): Promise<void> => {
  const initramfs = join(folder, 'initramfs')
  writeFileSync(
    initramfs,
    await buildInitramfs({ init, trigger: kernel.trigger }),
  )
  const ours: number[] = []
  const theirs: number[] = []
  for (let i = 0; i <= PAIRS; i++) {
    const a = await timeUntil(rig(PLAIN), 'pass')
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
  say(`${row('  ratio of each pair', ratios, 'x')} (promised: at most 1.00)`)
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
  const child = rig('--jobs', '2')
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
    `  cases a minute                           ${(cases / minutes).toFixed(0)} (${cases} cases; promised: at least 40)`,
  )
  say(
    `  peak memory of the rig itself            ${(peak / 1024).toFixed(0)} MiB (promised: under 250)`,
  )
}

/** A map of 40 entries with four nodes, as on a server. */
const predictions = (): void => {
  const e820 = Array.from({ length: 40 }, (_, i) => ({
    start: MIB + i * 48 * MIB + (i >= 36 ? 4 * GIB : 0),
    end: MIB + (i + 1) * 48 * MIB + (i >= 36 ? 4 * GIB : 0),
    type: i % 2 ? E820.RESERVED : E820.RAM,
  }))
  const quarter = (i: number) => ({
    ...{ start: i * 512 * MIB, end: i === 3 ? 16 * GIB : (i + 1) * 512 * MIB },
    ...{ domain: i, hotplug: false },
  })
  const memory = [0, 1, 2, 3].map(quarter)
  const srat = readSrat({ cpus: [], memory })
  const rates: number[] = []
  for (let round = 0; round <= 5; round++) {
    let count = 0
    const begin = performance.now()
    while (performance.now() - begin < 500)
      for (let i = 0; i < 100; i++, count++)
        predictLayout(
          { e820, srat, kernelImage: { start: 16 * MIB, end: 40 * MIB } },
          `memmap=64M$${1024 + i}M`,
          MODULE_LIMITS,
          MEMORY_RULES['6.12'],
        )
    // The first round is the compiler's.
    if (round > 0) rates.push((count * 1000) / (performance.now() - begin))
  }
  say('the model alone, 40 map entries, 4 nodes, one memmap=')
  say(
    `  predictions a second                     median ${median(rates).toFixed(0)}, from ${Math.min(...rates).toFixed(0)} (promised: at least 20000)`,
  )
}

predictions()
const kernel = await findKernel(await loadRecipe(KERNEL))
if (!kernel) throw new Error(`${KERNEL} is not built: run ./scripts/setup`)
await timeToVerdict(kernel, await buildInit(AbortSignal.timeout(60_000)))
await matrix()
