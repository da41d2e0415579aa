import { MIB, PAGE_SIZE, alignDown } from '../base/units.ts'
import {
  E820,
  type E820Entry,
  ZEROPAGE_ENTRIES,
  atMost,
  from,
  isUsable,
  rangeAdd,
  rangeRemove,
  rangeUpdate,
  sanitize,
  usable,
} from './e820.ts'
import type { MapOperation } from './memmap.ts'
import { type Range, contains, subtract } from './range.ts'
import type { MemoryRules } from './rules.ts'

/** What setup_arch() (arch/x86/kernel/setup.c) makes of an e820 table. */
export interface MemoryMap {
  /** The table the kernel announces as the firmware's. */
  readonly firmware: readonly E820Entry[]
  /** With what did not fit into struct boot_params; undefined: all did. */
  readonly extended: readonly E820Entry[] | undefined
  /** The table after `mem=` and `memmap=`; undefined when neither is given. */
  readonly user: readonly E820Entry[] | undefined
  /** The kernel panics: `Invalid user supplied memory map`. */
  readonly invalid: boolean
  /** Usable ranges at last, any order. */
  readonly ram: readonly Range[]
  /** max_pfn, in bytes. */
  readonly end: number
  /** There is a hole where the kernel may lie: the map depends on it. */
  readonly kernelInHole: boolean
}

/** What the map is made of, beside the command line. */
export interface MapInput {
  /** The table of the firmware, in any order and shape. */
  readonly e820: readonly E820Entry[]
  /** `_text` to `_end`; undefined while no kernel was chosen. */
  readonly kernelImage?: Range | undefined
  /** Where entries beyond the 128th were handed over (SETUP_E820_EXT). */
  readonly setupData?: Range | undefined
}

export const memoryMap = (
  input: MapInput,
  operations: readonly MapOperation[],
  rules: MemoryRules,
): MemoryMap => {
  const { kernelImage = LIKELY_KERNEL } = input
  const firmware = cleaned(atMost(input.e820, ZEROPAGE_ENTRIES))
  const rest = input.e820.slice(ZEROPAGE_ENTRIES)
  const extended =
    rest.length > 0 ? cleaned(rangeAdd(firmware, rest)) : undefined
  const asked = operations.length > 0
  const applied = withSetupData(
    operations.reduce(apply, extended ?? firmware),
    rules.hasReservedKern ? input.setupData : undefined,
  )
  const user = asked ? sanitize(applied) : undefined
  const table = withoutUnknown(user ?? applied, rules)
  const kernelInHole = !isRam(table, kernelImage)
  const last = trimBiosRange(
    kernelInHole ? addKernelRange(table, kernelImage) : table,
  )
  return {
    firmware,
    extended,
    user,
    invalid: asked && user === undefined,
    ram: usable(last),
    end: endOfMap(last, rules),
    kernelInHole: kernelInHole && !input.kernelImage,
  }
}

const cleaned = (table: readonly E820Entry[]): readonly E820Entry[] =>
  sanitize(table) ?? table

const apply = (
  table: readonly E820Entry[],
  operation: MapOperation,
): readonly E820Entry[] => {
  switch (operation.kind) {
    case 'exact':
      return []
    case 'add':
      return rangeAdd(table, [entryOf(operation.range, operation.type)])
    case 'limit':
      return rangeRemove(table, from(operation.size), E820.RAM)
    case 'remove':
      return rangeRemove(table, operation.range, operation.type)
    case 'retype':
      return rangeUpdate(table, operation.range, operation.from, operation.to)
  }
}

/**
 * Written out: an entry that was spread from another object has another hidden
 * class than those of the firmware, and every loop over a map gets slow.
 */
const entryOf = ({ start, end }: Range, type: number): E820Entry => ({
  start,
  end,
  type,
})

/** Type 128 is one that nobody knows where the kernel does not. */
const withoutUnknown = (
  table: readonly E820Entry[],
  { hasReservedKern }: MemoryRules,
): readonly E820Entry[] =>
  hasReservedKern
    ? table
    : table.filter(({ type }) => type !== E820.RESERVED_KERN)

/** e820__reserve_setup_data() (arch/x86/kernel/e820.c). */
const withSetupData = (
  table: readonly E820Entry[],
  setupData: Range | undefined,
): readonly E820Entry[] =>
  setupData
    ? cleaned(rangeUpdate(table, setupData, E820.RAM, E820.RESERVED_KERN))
    : table

/** CONFIG_PHYSICAL_START and more than any built kernel needs. */
const LIKELY_KERNEL: Range = { start: 16 * MIB, end: 48 * MIB }

const isRam = (table: readonly E820Entry[], range: Range): boolean => {
  if (table.some(entry => isUsable(entry) && contains(entry, range)))
    return true
  return subtract(range, usable(table)).length === 0
}

/**
 * e820_add_kernel_range() (arch/x86/kernel/setup.c): the memory the kernel
 * runs in is RAM, whatever the map says about it.
 */
const addKernelRange = (
  table: readonly E820Entry[],
  image: Range,
): readonly E820Entry[] =>
  rangeAdd(rangeRemove(table, image), [entryOf(image, E820.RAM)])

/** Page 0 and the legacy hole: what trim_bios_range() takes away. */
const BIOS_RANGES: readonly Range[] = [
  { start: 0, end: PAGE_SIZE },
  { start: 0xa0000, end: 0x100000 },
]

/**
 * trim_bios_range() (arch/x86/kernel/setup.c): page 0 and the legacy hole are
 * never RAM, whatever the map says.
 */
const trimBiosRange = (table: readonly E820Entry[]): readonly E820Entry[] =>
  withoutEmpty(
    BIOS_RANGES.reduce(
      (trimmed, range) => rangeRemove(trimmed, range, E820.RAM),
      table,
    ),
  )

const withoutEmpty = (table: readonly E820Entry[]): readonly E820Entry[] =>
  table.every(isFilled) ? table : table.filter(isFilled)

const isFilled = ({ start, end }: Range): boolean => start < end

/** e820__end_of_ram_pfn() (arch/x86/kernel/e820.c), in bytes. */
const endOfMap = (
  table: readonly E820Entry[],
  { acpiAtEndOfMap }: MemoryRules,
): number => {
  let end = 0
  for (const entry of table)
    if (entry.type === E820.RAM || (acpiAtEndOfMap && entry.type === E820.ACPI))
      end = Math.max(end, entry.end)
  return alignDown(end, PAGE_SIZE)
}
