import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../base/paths.ts'
import { GIB, MIB } from '../base/units.ts'
import { ConsoleReader } from '../console/reader.ts'
import { E820 } from '../memory/e820.ts'
import { predictLayout } from '../memory/predict.ts'
import { MEMORY_RULES } from '../memory/rules.ts'
import { readSrat } from '../memory/srat.ts'
import { MODULE_LIMITS } from '../tdx/metadata-values.ts'
import { median } from '../base/median.ts'
import { MAIN, row, say } from './bench-tools.ts'

/** Targets for what boots nothing. */

/** Predictions a second: a map of 40 entries with four nodes, as on a server. */
export const predictionRates = (): number[] => {
  const e820 = Array.from({ length: 40 }, (_, i) => ({
    start: MIB + i * 48 * MIB + (i >= 36 ? 4 * GIB : 0),
    end: MIB + (i + 1) * 48 * MIB + (i >= 36 ? 4 * GIB : 0),
    type: i % 2 ? E820.RESERVED : E820.RAM,
  }))
  const quarter = (i: number) => ({
    start: i * 512 * MIB,
    end: i === 3 ? 16 * GIB : (i + 1) * 512 * MIB,
    domain: i,
    hotplug: false,
  })
  const memory = [0, 1, 2, 3].map(quarter)
  const srat = readSrat({ cpus: [], memory })
  const rates: number[] = []
  for (let round = 0; round <= 5; round++) {
    let count = 0
    const begin = performance.now()
    while (performance.now() - begin < 500)
      for (let i = 0; i < 100; i++, count++)
        predictLayout({
          firmware: {
            e820,
            srat,
            kernelImage: { start: 16 * MIB, end: 40 * MIB },
          },
          cmdline: `memmap=64M$${1024 + i}M`,
          limits: MODULE_LIMITS,
          rules: MEMORY_RULES['6.12'],
        })
    // The first round is the compiler's.
    if (round > 0) rates.push((count * 1000) / (performance.now() - begin))
  }
  return rates
}

export const predictions = (): void => {
  const rates = predictionRates()
  say('the model alone, 40 map entries, 4 nodes, one memmap=')
  say(
    `  predictions a second                     median ${median(rates).toFixed(0)}, from ${Math.min(...rates).toFixed(0)} (target: at least 20000)`,
  )
}

const CONSOLE = join(
  projectRoot(),
  'harness',
  'console',
  'golden',
  'upstream-6.12-two-uneven.txt',
)

/** Lines of a boot that say nothing about TDX, with stamps that go on. */
const ordinaryLines = (): Buffer => {
  const lines = readFileSync(CONSOLE, 'latin1')
    .split('\n')
    .filter(
      line =>
        line.startsWith('[') &&
        !/Linux version|ommand line|tdx|\[mem/.test(line),
    )
  return Buffer.from(
    Array.from({ length: 300_000 }, (_, i) =>
      lines[i % lines.length]!.replace(
        /^\[ *[\d.]+\]/,
        `[${(9 + i / 1e4).toFixed(6).padStart(12)}]`,
      ),
    ).join('\n'),
    'latin1',
  )
}

/** MB a second of ordinary kernel log, in chunks as a file is read. */
export const consoleRates = (): number[] => {
  const text = ordinaryLines()
  const chunk = 64 * 1024
  const rates: number[] = []
  for (let round = 0; round <= 6; round++) {
    const reader = new ConsoleReader()
    const begin = performance.now()
    for (let at = 0; at < text.length; at += chunk)
      reader.push(text.subarray(at, at + chunk))
    reader.end()
    // The first round is the compiler's.
    if (round > 0) rates.push(text.length / 1e3 / (performance.now() - begin))
  }
  return rates
}

export const consoles = (): void => {
  const rates = consoleRates()
  say('console of a kernel, ordinary text')
  say(
    `  MB a second                              median ${median(rates).toFixed(0)}, from ${Math.min(...rates).toFixed(0)} (target: at least 100)`,
  )
}

const PAIRS = 10

export const explanations = async (): Promise<void> => {
  const times: number[] = []
  for (let i = 0; i <= PAIRS; i++) {
    const begin = performance.now()
    await once(
      spawn(process.execPath, [MAIN, 'explain', CONSOLE], { stdio: 'ignore' }),
      'exit',
    )
    if (i > 0) times.push(performance.now() - begin)
  }
  say('tdxrig explain of a boot, start-up included')
  say(`${row('  process start to end', times, 'ms')} (target: under 300)`)
}
