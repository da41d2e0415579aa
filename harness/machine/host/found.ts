import { InfraError } from '../../base/errors.ts'
import { visible } from '../../base/text.ts'
import { PHYSICAL_LIMIT } from '../../base/units.ts'
import type { FoundMachine } from '../../board/index.ts'
import type { Facts } from '../../console/facts.ts'
import { ConsoleReader } from '../../console/reader.ts'
import {
  type E820Entry,
  e820TypeByName,
  FIRMWARE_NAMES,
} from '../../memory/e820.ts'
import { type Srat, decodeSrat, readSrat } from '../../memory/srat.ts'
import { splitWords } from '../../memory/cmdline.ts'
import { type Answer, textOf } from './remote.ts'

/** What a host is and runs now. */
export interface HostState {
  readonly bootId: string
  readonly cmdline: readonly string[]
  /** Our entry waits for the next boot. */
  readonly armed: boolean
  /** The last test boot went home by itself, because its lease ended. */
  readonly guarded: boolean
}

/** What was read from a host. */
export interface HostFacts extends HostState {
  readonly answer: Answer
  readonly release: string
  readonly machine: FoundMachine
  /** What the kernel that runs there says. */
  readonly facts: Facts
}

export const stateOf = (answer: Answer): HostState => ({
  bootId: textOf(answer, 'boot-id'),
  cmdline: splitWords(textOf(answer, 'cmdline')),
  armed: answer.has('armed'),
  guarded: answer.has('guarded'),
})

/**
 * The kernel's log from its first line.
 *
 * @returns undefined where neither ring buffer nor journal has the beginning
 */
export const logOf = (answer: Answer): Buffer | undefined => {
  const whole = answer.get('dmesg')
  if (whole) return whole
  const journal = answer.get('journal')
  // The journal names the host and the kernel behind the stamp.
  const text = journal
    ?.toString('latin1')
    .replaceAll(/^(\[ *\d+\.\d+\]) (?:\S+ )?kernel: /gm, '$1 ')
  return text?.includes('Linux version') === true
    ? Buffer.from(text, 'latin1')
    : undefined
}

/**
 * What a serial console has of one boot: from its kernel's first line on. Before
 * it stands how the last kernel went down.
 *
 * @param mark a word of that boot's command line
 * @returns undefined where that boot is not on it
 */
export const markedBoot = (
  console: Buffer,
  mark: string,
): Buffer | undefined => {
  const at = console.indexOf(mark)
  const version = at < 0 ? -1 : console.lastIndexOf('Linux version ', at)
  return version < 0
    ? undefined
    : console.subarray(console.lastIndexOf('\n', version) + 1)
}

/** @throws InfraError when it does not say what memory it has */
export const hostFacts = (host: string, answer: Answer): HostFacts => {
  const reader = new ConsoleReader()
  reader.push(logOf(answer) ?? answer.get('dmesg-cut') ?? Buffer.alloc(0))
  reader.end()
  const facts = reader.facts()
  const srat = sratOf(host, answer)
  const cpus = cpusOf(answer)
  const keyids = facts.tdx.keyids
  return {
    ...stateOf(answer),
    answer,
    release: textOf(answer, 'release'),
    facts,
    machine: {
      e820: mapOf(host, answer, facts),
      srat,
      cpus: cpus.length,
      packageOf: renumbered(cpus.map(cpu => cpu.package)),
      nodeCpus: nodesOf(cpus, srat),
      keyids: keyids
        ? { mktme: keyids[0] - 1, tdx: keyids[1] - keyids[0] }
        : undefined,
      cmrs: facts.tdx.cmrs ?? undefined,
    },
  }
}

/** /sys/firmware/memmap is the map before any parameter; else the log has it. */
const mapOf = (host: string, answer: Answer, facts: Facts): E820Entry[] => {
  const lines = textOf(answer, 'memmap').split('\n').filter(Boolean)
  const entries = lines.map((line): E820Entry => {
    const [, first, last, name = ''] =
      /^(0x[0-9a-f]{1,16}) (0x[0-9a-f]{1,16}) (.+)$/i.exec(line) ?? []
    const type = FIRMWARE_NAMES[name] ?? e820TypeByName(name)
    const range = { start: Number(first), end: Number(last) + 1 }
    if (
      type === undefined ||
      !(range.start < range.end && range.end <= PHYSICAL_LIMIT)
    )
      throw new InfraError(
        'HOST_MAP',
        `${host}: expected an entry of /sys/firmware/memmap such as '0x100000 0x7fffffff System RAM', found '${visible(line.slice(0, 80))}'`,
      )
    return { ...range, type }
  })
  const map = entries.length > 0 ? entries : [...facts.firmwareMap]
  if (map.length > 0) return map.toSorted((a, b) => a.start - b.start)
  throw new InfraError(
    'HOST_MAP',
    `${host}: expected its firmware's memory map in /sys/firmware/memmap (CONFIG_FIRMWARE_MEMMAP) or in the kernel's log, found it in neither`,
  )
}

const sratOf = (host: string, answer: Answer): Srat | undefined => {
  const table = answer.get('srat')
  if (!table || table.length === 0) return undefined
  try {
    return decodeSrat(table)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new InfraError('HOST_SRAT', `${host}: its SRAT: ${error.message}`)
  }
}

interface HostCpu {
  readonly package: number
  readonly node: number
}

const MAX_CPUS = 8192

/** Lines `cpu package node`, those of /sys. */
const cpusOf = (answer: Answer): HostCpu[] =>
  textOf(answer, 'cpus')
    .split('\n', MAX_CPUS)
    .flatMap(line => {
      const [, cpu, packageId, node] =
        /^(\d{1,4}) (-?\d{1,5}) (-?\d{1,4})$/.exec(line) ?? []
      return cpu === undefined
        ? []
        : [{ cpu: Number(cpu), package: Number(packageId), node: Number(node) }]
    })
    .toSorted((a, b) => a.cpu - b.cpu)

/** Packages from 0 on, in the order in which CPUs are on them. */
const renumbered = (packages: readonly number[]): number[] => {
  const order = [...new Set(packages)]
  return packages.map(id => order.indexOf(id))
}

const nodesOf = (
  cpus: readonly HostCpu[],
  srat: Srat | undefined,
): number[][] => {
  const nodes = srat ? readSrat(srat).nodes.size : 0
  return Array.from({ length: nodes }, (_, node) =>
    cpus.flatMap((cpu, i) => (cpu.node === node ? [i] : [])),
  )
}
