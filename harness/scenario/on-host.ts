import { MIB, formatSize, hex } from '../base/units.ts'
import { memoryParameters } from '../memory/cmdline.ts'
import { usable } from '../memory/e820.ts'
import { type Layout, predictLayout } from '../memory/predict.ts'
import { type Range, intersect, totalSize } from '../memory/range.ts'
import { MODULE_LIMITS } from '../tdx/metadata-values.ts'
import { NEWEST_SERIES } from '../tdx/series/index.ts'
import {
  type MachineSpec,
  bootMemory,
  machineFirmware,
} from './machine-spec.ts'
import { type Cell, cellSchema } from './schema.ts'

/**
 * What a machine that is there cannot do for a scenario. A server is not built
 * for it: its memory, its firmware, its TDX module are what they are, and it
 * must come back.
 */

/** What scenarios say of QEMU's machines alone. */
export const whyUnsuitable = (cell: Cell): string[] => {
  const { machine, tdx, steps, expect } = cell
  const plain = cellSchema.parse({ machine: {} })
  const says = (wrong: boolean, reason: string): string[] =>
    wrong ? [reason] : []
  return [
    ...says(
      machine.needs === undefined,
      'the scenario describes a machine for QEMU: one for hosts says what it needs, as in machine: { needs: { memory: 4G } }',
    ),
    ...says(
      machine.firmware.e820 !== undefined ||
        machine.firmware.srat !== undefined,
      'the scenario brings its own firmware tables, and a host has those of its firmware',
    ),
    ...says(
      JSON.stringify(tdx) !== JSON.stringify(plain.tdx),
      'the scenario sets up the TDX platform, and that of a host is as it is',
    ),
    ...says(
      steps.some(step => step !== 'trigger'),
      'the scenario has steps other than the trigger, which are taken by the init of the rig alone',
    ),
    ...says(
      [expect, ...Object.values(expect.on)].some(
        ({ regions, pamtKiB, panic }) =>
          regions !== undefined || pamtKiB !== undefined || panic !== undefined,
      ),
      'the scenario expects addresses, sizes or a panic of one machine',
    ),
  ]
}

/** Where kernels are loaded and unpacked without KASLR. */
const KERNEL: Range = { start: 16 * MIB, end: 192 * MIB }
/** A server's user space comes up with that much, and not with less. */
const LEAST_LEFT = 1536 * MIB

/** Parameters after which the host would not come up, or not well. */
export const takesTooMuch = (
  words: readonly string[],
  machine: MachineSpec,
): string[] => {
  const cmdline = words.join(' ')
  const firmware = machineFirmware(machine)
  const layout = predictLayout({
    firmware: { ...firmware, kernelImage: KERNEL },
    cmdline,
    limits: MODULE_LIMITS,
    rules: NEWEST_SERIES.memoryRules,
  })
  const left = totalSize(layout.memblock)
  const kernelLeft = totalSize(
    usable(layout.userMap ?? layout.firmwareMap).flatMap(
      range => intersect(range, KERNEL) ?? [],
    ),
  )
  return [
    ...outside(cmdline, bootMemory(machine)),
    ...(layout.invalidMap ? ['the kernel would panic on the map'] : []),
    ...whyFatal(layout),
    ...(kernelLeft < KERNEL.end - KERNEL.start
      ? [
          `the parameters take memory from [${hex(KERNEL.start)}, ${hex(KERNEL.end)}), where the kernel itself lies`,
        ]
      : []),
    ...(left < LEAST_LEFT
      ? [
          `the parameters leave ${formatSize(left)} of memory, and the host needs ${formatSize(LEAST_LEFT)} to come up`,
        ]
      : []),
  ]
}

const whyFatal = ({ fatal }: Layout): string[] =>
  fatal ? [`the kernel would not survive the parameters: ${fatal.why}`] : []

/** Ranges of memmap= that have nothing to do with this machine's memory. */
const outside = (cmdline: string, memory: readonly Range[]): string[] =>
  memoryParameters(cmdline).operations.flatMap(operation => {
    if (!('range' in operation)) return []
    const { range } = operation
    return memory.some(piece => intersect(piece, range) !== undefined)
      ? []
      : [
          `memmap= names [${hex(range.start)}, ${hex(range.end)}), where this host has no memory: use a place such as @node0+1G`,
        ]
  })
