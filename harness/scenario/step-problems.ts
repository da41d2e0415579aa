import { GIB, MIB, formatSize, hex } from '../base/units.ts'
import { LARGE_BLOCKS, MEMORY_BLOCK } from '../memory/memory-block.ts'
import { type Range, contains, formatRange, overlaps } from '../memory/range.ts'
import type { Problem } from './problem.ts'
import {
  type BootRange,
  type Plug,
  type StepsInput,
  type SteppedMachine,
  type KmemInput,
  bootRangesOf,
  kmemRange,
  kmemsOf,
  plugRanges,
  plugsOf,
} from './steps.ts'

/** More than anybody needs; each costs ACPI events. */
const MAX_DIMMS = 16
/**
 * What QEMU aligns a DIMM to: huge pages of its backend
 * (QEMU_VMALLOC_ALIGN, include/qemu/osdep.h).
 */
const DIMM_ALIGNMENT = 2 * MIB

/**
 * What virtio-mem adds before any of it is online
 * (VIRTIO_MEM_DEFAULT_OFFLINE_THRESHOLD, drivers/virtio/virtio_mem.c).
 */
const VIRTIO_MEM_LIMIT = GIB

/** What of a machine decides which steps it can go through. */
export interface StepLimits {
  readonly nodes: number
  readonly cpus: number
  /** Undefined: the machine cannot be built, and has no addresses. */
  readonly built: Pick<SteppedMachine, 'memory' | 'model'> | undefined
}

/** Where something that was named is, as the steps go on. */
interface Known {
  readonly plugged: Set<string>
  /** Names of DIMMs, also of those that are gone. */
  readonly used: Set<string>
  readonly online: Set<string>
  readonly boot: ReadonlySet<string>
}

type Complain = (at: readonly string[], message: string) => void

/** What is known when a step that names memory by its addresses is looked at. */
interface AtStep {
  readonly known: Known
  readonly limits: StepLimits
  /** Names that have their addresses already. */
  readonly named: ReadonlySet<string>
  readonly problem: Complain
}

/** Steps that no machine can go through. */
export const stepProblems = (
  steps: StepsInput,
  limits: StepLimits,
): Problem[] => {
  const problems: Problem[] = machineProblems(steps, limits)
  const known: Known = {
    plugged: new Set(),
    used: new Set(),
    online: new Set(),
    boot: new Set(
      [...bootRangesOf(steps), ...kmemsOf(steps)].map(({ name }) => name),
    ),
  }
  const ranges = limits.built && plugRanges(plugsOf(steps), limits.built)
  let plugs = 0
  let triggered = false
  const named = new Set<string>()
  steps.forEach((step, i) => {
    const problem: Complain = (at, message) => {
      problems.push({ at: ['steps', i, ...at], message })
    }
    if (step === 'trigger') {
      if (triggered)
        problem([], 'a kernel is asked once; asking it again is the step retry')
      triggered = true
    } else if (step === 'retry') {
      const before = steps[i - 1]
      if (before !== 'trigger' && before !== 'retry')
        problem(
          [],
          'expected it right behind trigger or another retry: the model does not follow what happens in between',
        )
    } else if ('plug' in step) {
      plugProblems(step.plug, { known, limits, problem })
      if (ranges)
        placeProblems(step.plug, ranges, { at: plugs++, limits, problem })
    } else if ('machineCheck' in step) {
      if (i < steps.length - 1)
        problem([], 'a machine check ends the kernel: it is the last step')
      if (steps.some(one => typeof one === 'object' && 'update' in one))
        problem(
          [],
          'the model does not follow a machine check after an update: leave out one of them',
        )
    } else if ('kexec' in step) {
      kexecProblems(steps, i, problem)
    } else if ('kmem' in step) {
      kmemProblems(step.kmem, { known, limits, named, problem })
      named.add(step.kmem.name)
    } else if ('unplug' in step) {
      const virtio = plugsOf(steps).some(
        ({ name, as }) => name === step.unplug && as === 'virtio-mem',
      )
      if (virtio)
        problem(
          ['unplug'],
          `'${step.unplug}' is virtio-mem: only DIMMs can be unplugged`,
        )
      if (!known.plugged.has(step.unplug))
        problem(['unplug'], notThere(step.unplug, 'DIMM', known.plugged))
      known.plugged.delete(step.unplug)
      known.online.delete(step.unplug)
    } else if ('online' in step) {
      onlineProblems(step.online, named, known, problem)
    } else if ('offline' in step) {
      const { offline } = step
      if (typeof offline === 'number') {
        if (offline >= limits.cpus)
          problem(
            ['offline'],
            `CPU ${offline} does not exist: the machine has CPUs 0 to ${limits.cpus - 1}`,
          )
      } else if (typeof offline === 'string') {
        const there = new Set([...known.plugged, ...named])
        if (!there.has(offline))
          problem(['offline'], notThere(offline, 'memory', there))
        known.online.delete(offline)
      } else {
        bootProblems(offline, { known, limits, named, problem })
        known.online.delete(offline.name)
        named.add(offline.name)
      }
    }
  })
  return problems
}

/** The model does not follow what was done to memory or module before. */
const kexecProblems = (
  steps: StepsInput,
  at: number,
  problem: Complain,
): void => {
  if (at < steps.length - 1)
    problem(
      [],
      'kexec ends the kernel: it is the last step; what follows goes into its own steps',
    )
  const other = steps.find(step =>
    typeof step === 'string'
      ? step !== 'trigger'
      : !('kexec' in step) &&
        !('offline' in step && typeof step.offline === 'number'),
  )
  if (other)
    problem(
      [],
      'before kexec only trigger and offline of a CPU are possible: the model does not follow memory, updates and more tries to the next kernel',
    )
}

const machineProblems = (
  steps: StepsInput,
  { built }: StepLimits,
): Problem[] => {
  const plugs = plugsOf(steps)
  const end = built ? endOfMemory(built) : 0
  const problems: Problem[] = []
  if (end >= LARGE_BLOCKS && plugs.length > 0)
    problems.push({
      at: ['steps'],
      message: `DIMMs can be plugged into machines whose memory ends below ${hex(LARGE_BLOCKS)}, this one's ends at ${hex(end)}: there kernels add memory in larger blocks`,
    })
  if (
    end >= LARGE_BLOCKS &&
    bootRangesOf(steps).length + kmemsOf(steps).length > 0
  )
    problems.push({
      at: ['steps'],
      message: `memory can be taken offline on machines whose memory ends below ${hex(LARGE_BLOCKS)}, this one's ends at ${hex(end)}: there memory blocks are larger`,
    })
  if (new Set(plugs.map(({ name }) => name)).size > MAX_DIMMS)
    problems.push({
      at: ['steps'],
      message: `expected at most ${MAX_DIMMS} DIMMs, found ${plugs.length}`,
    })
  return problems
}

const endOfMemory = ({
  memory,
  model,
}: NonNullable<StepLimits['built']>): number =>
  model.ramRanges({ ...memory, dimms: [] }).at(-1)?.end ?? 0

const notThere = (
  name: string,
  what: string,
  there: ReadonlySet<string>,
): string =>
  `no ${what} '${name}' was plugged before${there.size > 0 ? ` (there ${there.size === 1 ? 'is' : 'are'}: ${[...there].join(', ')})` : ''}`

const plugProblems = (
  { name, memory, node, start, as }: Plug,
  {
    known: { plugged, used, boot },
    limits: { nodes },
    problem,
  }: {
    readonly known: Known
    readonly limits: StepLimits
    readonly problem: Complain
  },
): void => {
  if (used.has(name))
    problem(['plug', 'name'], `there is a DIMM '${name}' already`)
  if (boot.has(name))
    problem(['plug', 'name'], `'${name}' is the name of boot memory`)
  plugged.add(name)
  used.add(name)
  if (memory === 0 || memory % DIMM_ALIGNMENT !== 0)
    problem(
      ['plug', 'memory'],
      `expected a multiple of ${formatSize(DIMM_ALIGNMENT)}, which is what QEMU can plug, found ${formatSize(memory)}`,
    )
  if (as === 'virtio-mem') {
    if (memory % MEMORY_BLOCK !== 0 || memory > VIRTIO_MEM_LIMIT)
      problem(
        ['plug', 'memory'],
        `expected a multiple of ${formatSize(MEMORY_BLOCK)} up to ${formatSize(VIRTIO_MEM_LIMIT)}, which is what the driver of virtio-mem adds, found ${formatSize(memory)}`,
      )
    if (start !== undefined && start % MEMORY_BLOCK !== 0)
      problem(
        ['plug', 'start'],
        `expected a multiple of ${formatSize(MEMORY_BLOCK)} for virtio-mem, found ${hex(start)}`,
      )
  }
  if (node >= Math.max(1, nodes))
    problem(
      ['plug', 'node'],
      `there is no node ${node}: the machine has ${Math.max(1, nodes)}`,
    )
}

/** A DIMM with a start of its own must be where QEMU has room for it. */
const placeProblems = (
  { name, start }: Plug,
  ranges: readonly Range[],
  {
    at,
    limits: { built },
    problem,
  }: {
    readonly at: number
    readonly limits: StepLimits
    readonly problem: Complain
  },
): void => {
  const range = ranges[at]!
  const room = built?.model.dimmRoom(built.memory)
  if (start !== undefined && start % DIMM_ALIGNMENT !== 0)
    problem(
      ['plug', 'start'],
      `expected a multiple of ${formatSize(DIMM_ALIGNMENT)}, found ${hex(start)}`,
    )
  else if (start !== undefined && room && !contains(room, range))
    problem(
      ['plug', 'start'],
      `DIMMs of this machine lie in ${formatRange(room)}, '${name}' would be at ${formatRange(range)}`,
    )
  const other = ranges.findIndex((one, i) => i < at && overlaps(one, range))
  if (other >= 0)
    problem(
      ['plug', ...(start === undefined ? [] : ['start'])],
      `'${name}' at ${formatRange(range)} overlaps the DIMM at ${formatRange(ranges[other]!)}`,
    )
}

const onlineProblems = (
  name: string,
  named: ReadonlySet<string>,
  { plugged, online }: Known,
  problem: Complain,
): void => {
  const there = new Set([...plugged, ...named])
  if (!there.has(name)) problem(['online'], notThere(name, 'DIMM', there))
  if (online.has(name)) problem(['online'], `'${name}' is online already`)
  online.add(name)
}

const bootProblems = (
  { name, start, end }: BootRange,
  { known, limits: { built }, named, problem }: AtStep,
): void => {
  if (known.used.has(name))
    problem(['offline', 'name'], `'${name}' is the name of a DIMM`)
  if (named.has(name))
    problem(
      ['offline'],
      `'${name}' has its addresses already: write offline: ${name}`,
    )
  if (start >= end)
    problem(
      ['offline'],
      'expected start below end (end is the first byte after)',
    )
  for (const [key, value] of [
    ['start', start],
    ['end', end],
  ] as const)
    if (value % MEMORY_BLOCK !== 0)
      problem(
        ['offline', key],
        `expected a multiple of ${formatSize(MEMORY_BLOCK)}, the size of a memory block, found ${hex(value)}`,
      )
  const ram = built?.model.ramRanges(built.memory)
  if (start < end && ram && !ram.some(range => overlaps(range, { start, end })))
    problem(
      ['offline', 'start'],
      `the machine has no RAM there: it is in ${ram.map(formatRange).join(' and ')}`,
    )
}

const kmemProblems = (
  input: KmemInput,
  { known, limits: { built }, named, problem }: AtStep,
): void => {
  const { name, start, end } = input
  if (known.used.has(name) || named.has(name))
    problem(['kmem', 'name'], `there is memory '${name}' already`)
  const range = kmemRange(input)
  if (range.start >= range.end)
    problem(
      ['kmem'],
      `expected a device with a whole memory block (${formatSize(MEMORY_BLOCK)})${input.from === 'persistent' ? ' behind its information block' : ''}, found ${formatRange({ start, end })}`,
    )
  const ram = built?.model.ramRanges(built.memory)
  if (ram && !ram.some(one => contains(one, { start, end })))
    problem(
      ['kmem', 'start'],
      `the machine has no RAM there: it is in ${ram.map(formatRange).join(' and ')}`,
    )
}
