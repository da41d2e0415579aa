import { type E820Entry, e820TypeName } from '../../memory/e820.ts'
import { splitWords } from '../../memory/cmdline.ts'
import { formatNodeRange, formatRange } from '../../memory/range.ts'
import { NUMA_OFF } from '../../memory/numa.ts'
import type { Check, Reason } from '../context.ts'
import { differing, firstDifference } from '../differences.ts'
import { panicked } from '../observed-ending.ts'

/**
 * Proof that what was asked took effect. Where it is missing the boot says
 * nothing about the kernel, and the verdict is `invalid`.
 */

const invalid = (check: string, message: string): Reason => ({
  kind: 'invalid',
  check,
  message,
})

const formatEntry = (entry: E820Entry): string =>
  `${formatRange(entry)} ${e820TypeName(entry.type)}`

/**
 * The kernel got the command line word by word. The kernel's own copy counts;
 * what it prints is cut off at a kilobyte.
 */
export const checkCmdline: Check = ({ record }) => {
  const effective = record.effectiveCmdline ?? record.facts.cmdline
  if (effective === null)
    return [
      invalid(
        'cmdline',
        'the kernel printed no command line: it is not known which parameters it got',
      ),
    ]
  const difference = firstDifference(
    'word',
    splitWords(record.cmdline),
    splitWords(effective),
    word => word,
  )
  return differing(
    'invalid',
    'cmdline',
    "the kernel's command line",
    difference,
  )
}

/** The kernel asked for the KeyIDs, and it was the rig that answered. */
export const checkInterposition: Check = ({ record }) =>
  record.end !== 'settled' || record.keyidReads > 0 || panicked(record)
    ? []
    : [
        invalid(
          'interposition',
          'the kernel never read MSR 0x87 (IA32_MKTME_KEYID_PARTITIONING): it saw no TDX platform at all',
        ),
      ]

/** A fault that was asked for has happened, or something stopped before it. */
export const checkFaults: Check = ({ record }) =>
  record.facts.tdx.outcome === 'initialized'
    ? record.unmetFaults.map(({ leaf }) =>
        invalid(
          'faults',
          `a fault on ${leaf.replaceAll('_', '.')} was asked for, and the kernel never met it`,
        ),
      )
    : []

/** The firmware handed over the map of the machine that was asked for. */
export const checkFirmwareMap: Check = ({ record, layout }) => {
  const difference = firstDifference(
    'entry',
    layout.firmwareMap,
    record.facts.firmwareMap,
    formatEntry,
  )
  return differing(
    'invalid',
    'firmware-map',
    "the firmware's memory map",
    difference,
  )
}

/** What did not fit into struct boot_params came along as well. */
export const checkExtendedMap: Check = ({ record, layout }) =>
  differing(
    'invalid',
    'extended-map',
    'the memory map with the entries beyond the 128th',
    firstDifference(
      'entry',
      layout.extendedMap ?? [],
      record.facts.extendedMap ?? [],
      formatEntry,
    ),
  )

/** `mem=` and `memmap=` changed the map the way they must. */
export const checkUserMap: Check = ({ record, layout }) => {
  const { userMap } = record.facts
  if (!layout.userMap && !userMap) return []
  if (!userMap)
    return [
      invalid(
        'user-map',
        'mem= or memmap= was given, but the kernel printed no user-defined physical RAM map',
      ),
    ]
  const difference = firstDifference(
    'entry',
    layout.userMap ?? [],
    userMap,
    formatEntry,
  )
  return differing(
    'invalid',
    'user-map',
    'the user-defined memory map',
    difference,
  )
}

/** The NUMA topology reached the kernel, and it was not thrown away. */
export const checkSrat: Check = ({ record, layout }) => {
  const { srat, numaFallback } = record.facts
  const expected = announcedFallback(layout.numaFallback)
  if (numaFallback !== expected)
    return [
      invalid(
        'srat',
        `how the kernel found its nodes: expected ${expected ?? 'from the SRAT'}, found ${numaFallback ?? 'from the SRAT'}`,
      ),
    ]
  const difference = firstDifference(
    'entry',
    layout.srat,
    srat,
    formatNodeRange,
  )
  return differing('invalid', 'srat', "the SRAT's memory", difference)
}

/** dummy_numa_init() has one line for all reasons but numa=off. */
const announcedFallback = (fallback: string | undefined): string | null => {
  if (fallback === undefined) return null
  return fallback === NUMA_OFF ? NUMA_OFF : 'No NUMA configuration found'
}
