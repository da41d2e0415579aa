import { type E820Entry, e820TypeName } from '../memory/e820.ts'
import { splitWords } from '../memory/cmdline.ts'
import { formatNodeRange, formatRange } from '../memory/range.ts'
import { q35Srat } from '../memory/firmware-map.ts'
import type { Check, Reason } from './context.ts'
import { firstDifference } from './differences.ts'

/**
 * Proof that what was asked took effect. Where it is missing the boot says
 * nothing about the kernel, and the verdict is `invalid`.
 */

const invalid = (
  check: string,
  message: string,
  details: Partial<Reason> = {},
): Reason => ({ ...details, kind: 'invalid', check, message })

const formatEntry = (entry: E820Entry): string =>
  `${formatRange(entry)} ${e820TypeName(entry.type)}`

/** The kernel got the command line word by word. */
export const checkCmdline: Check = ({ record }) => {
  const { cmdline } = record.facts
  if (cmdline === null)
    return [
      invalid(
        'cmdline',
        'the kernel printed no command line: it is not known which parameters it got',
      ),
    ]
  const difference = firstDifference(
    'word',
    splitWords(record.cmdline),
    splitWords(cmdline),
    word => word,
  )
  return difference
    ? [
        invalid(
          'cmdline',
          `the kernel's command line: ${difference.message}`,
          difference,
        ),
      ]
    : []
}

/** The firmware handed over the map of the machine that was asked for. */
export const checkFirmwareMap: Check = ({ record, layout, basis }) => {
  if (basis === 'console') return []
  const difference = firstDifference(
    'entry',
    layout.firmwareMap,
    record.facts.firmwareMap,
    formatEntry,
  )
  return difference
    ? [
        invalid(
          'firmware-map',
          `the firmware's memory map: ${difference.message}`,
          difference,
        ),
      ]
    : []
}

/** `mem=` and `memmap=` changed the map the way they must. */
export const checkUserMap: Check = ({ record, layout, basis }) => {
  if (basis === 'console') return []
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
  return difference
    ? [
        invalid(
          'user-map',
          `the user-defined memory map: ${difference.message}`,
          difference,
        ),
      ]
    : []
}

/** The NUMA topology reached the kernel, and it was not thrown away. */
export const checkSrat: Check = ({ item, record, layout, basis }) => {
  if (basis === 'console') return []
  const { srat, numaFallback } = record.facts
  if (layout.numaFallback === 'NUMA turned off') return []
  const difference = firstDifference(
    'entry',
    q35Srat(item.machine.memory, item.machine.nodeCpus),
    srat,
    formatNodeRange,
  )
  if (difference)
    return [
      invalid('srat', `the SRAT's memory: ${difference.message}`, difference),
    ]
  return numaFallback !== null && !layout.numaFallback
    ? [invalid('srat', `the kernel dropped the SRAT: ${numaFallback}`)]
    : []
}
