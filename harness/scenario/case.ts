import type { Outcome, Stage } from '../console/outcome.ts'
import { memoryParameters, splitWords } from '../memory/cmdline.ts'
import { ramRanges } from '../memory/firmware-map.ts'
import { parseMem, parseMemmap } from '../memory/memmap.ts'
import { type NodeRange, type Range, intersect } from '../memory/range.ts'
import { MIB } from '../base/units.ts'
import type { Platform } from '../tdx/platform.ts'
import { type Fault, type MachineSpec, machineSpec } from './machine-spec.ts'
import type { Cell } from './schema.ts'

/** What a case must show; undefined leaves it to the prediction. */
export interface Expectation {
  readonly outcome: Outcome
  readonly stage: Stage | undefined
  readonly errno: number | undefined
  readonly regions: readonly NodeRange[] | undefined
  readonly pamtKib: number | undefined
  /** Text of the panic that must end the boot. */
  readonly panic: string | undefined
}

/** One kernel, one machine, one command line. */
export interface Case {
  /** Unique within a run: `group/scenario[cell]@kernel`. */
  readonly id: string
  /** The scenario file. */
  readonly scenario: string
  readonly name: string
  readonly why: string
  readonly kernel: string
  readonly machine: MachineSpec
  readonly platform: Platform
  /** Kernel parameters of the scenario, without those of the rig. */
  readonly words: readonly string[]
  readonly expect: Expectation
}

/** A cell without its name and kernel. */
export type CaseBody = Pick<
  Case,
  'name' | 'why' | 'machine' | 'platform' | 'words' | 'expect'
>

/** Sapphire Rapids has 46 bits left for addresses once TME took its share. */
const PHYSICAL_BITS = 46

/** Parameters the rig needs for itself: a scenario cannot set them. */
const RESERVED = [
  'console',
  'earlyprintk',
  'kaslr',
  'rdinit',
  'initrd',
  'panic',
]

/** COMMAND_LINE_SIZE (arch/x86/include/asm/setup.h), less the rig's words. */
const MAX_WORDS_LENGTH = 2047 - 256

/** @returns what to boot and expect, or all that is wrong with the cell */
export const caseBody = (
  cell: Cell,
): { readonly body: CaseBody } | { readonly faults: readonly Fault[] } => {
  const machine = machineSpec(cell.machine)
  const faults = [
    ...('faults' in machine ? machine.faults : []),
    ...cmdlineFaults(cell),
    ...cmrFaults(cell),
  ]
  if ('faults' in machine || faults.length > 0) return { faults }
  const { expect } = cell
  return {
    body: {
      name: cell.name,
      why: cell.why,
      machine: machine.spec,
      platform: platformOf(cell, machine.spec),
      words: wordsOf(cell),
      expect: {
        outcome: expect.tdx,
        stage: expect.stage,
        errno: expect.errno,
        regions: expect.regions,
        pamtKib: expect.pamtKiB,
        panic: expect.panic,
      },
    },
  }
}

const wordsOf = ({ cmdline }: Cell): string[] => [
  ...(cmdline.mem === undefined ? [] : [`mem=${cmdline.mem}`]),
  ...cmdline.memmap.map(value => `memmap=${value}`),
  ...cmdline.append,
]

const platformOf = ({ tdx }: Cell, machine: MachineSpec): Platform => ({
  keyids: tdx.keyids,
  moduleLoaded: tdx.module !== 'none',
  cmrs: tdx.cmrs === 'auto' ? convertibleMemory(machine) : tdx.cmrs,
  lps: machine.cpus,
  packageOf: Array.from({ length: machine.cpus }, (_, cpu) =>
    Math.floor((cpu * machine.packages) / machine.cpus),
  ),
  physicalBits: PHYSICAL_BITS,
  faults: tdx.faults.map(fault => ({
    ...fault,
    cpu: fault.cpu,
    times: fault.times ?? Infinity,
  })),
})

/** All RAM but the first 1 MiB, which no platform reports as convertible. */
const convertibleMemory = ({ memory }: MachineSpec): Range[] =>
  ramRanges(memory).flatMap(
    range => intersect(range, { start: MIB, end: Infinity }) ?? [],
  )

const cmrFaults = ({ tdx }: Cell): Fault[] =>
  tdx.cmrs === 'auto'
    ? []
    : tdx.cmrs.flatMap(({ start, end }, i) =>
        start < end
          ? []
          : [{ at: ['tdx', 'cmrs', i], message: 'expected start below end' }],
      )

const cmdlineFaults = (cell: Cell): Fault[] => {
  const { memmap, mem, append } = cell.cmdline
  const fault = (at: Fault['at'], message: string): Fault => ({
    at: ['cmdline', ...at],
    message,
  })
  const faults = memmap.flatMap((value, i) => {
    const parsed = parseMemmap(value)
    return 'error' in parsed
      ? [
          fault(
            ['memmap', i],
            `memmap=${value}: the kernel would not parse '${parsed.error.element}': ${parsed.error.message}`,
          ),
        ]
      : []
  })
  const limit = mem === undefined ? undefined : parseMem(mem)
  if (limit && 'error' in limit)
    faults.push(fault(['mem'], `mem=${mem ?? ''}: ${limit.error.message}`))
  append.forEach((word, i) => {
    const message = appendFault(word)
    if (message) faults.push(fault(['append', i], message))
  })
  if (wordsOf(cell).join(' ').length > MAX_WORDS_LENGTH)
    faults.push(
      fault(
        [],
        `the parameters are longer than ${MAX_WORDS_LENGTH} characters: the kernel would cut them off`,
      ),
    )
  return faults
}

const appendFault = (word: string): string | undefined => {
  // eslint-disable-next-line no-control-regex -- that is what is refused
  if (/[\u0000-\u001f\u007f]/.test(word))
    return 'control characters cannot be passed on a command line'
  for (const part of splitWords(word)) {
    const name = part.split('=')[0]!.replaceAll('-', '_')
    if (RESERVED.includes(name) || part === '--')
      return `'${part}' is set by the rig itself and cannot be changed`
  }
  const [error] = memoryParameters(word).errors
  return error && `'${error.element}': ${error.message}`
}
