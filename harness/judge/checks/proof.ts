import { type E820Entry, formatEntry, joinUsable } from '../../memory/e820.ts'
import { splitWords } from '../../memory/cmdline.ts'
import { formatNodeRange } from '../../memory/range.ts'
import type { BootRecord } from '../../machine/record.ts'
import { NUMA_OFF } from '../../memory/numa.ts'
import { type Reason, check } from '../context.ts'
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

/**
 * The kernel got the command line word by word. The kernel's own copy counts
 * where its memory was read; what it prints is cut off at a kilobyte.
 */
export const checkCmdline = check(
  'cmdline',
  ['console'],
  ({ record, facts }) => {
    const effective = record.witnesses.memory?.cmdline ?? facts.cmdline
    if (effective === null)
      return [
        invalid(
          'cmdline',
          'the kernel printed no command line: it is not known which parameters it got',
        ),
      ]
    const differs = (found: string): Reason[] =>
      differing(
        {
          kind: 'invalid',
          check: 'cmdline',
          what: "the kernel's command line",
        },
        firstDifference({
          what: 'word',
          expected: splitWords(record.start.cmdline),
          found: splitWords(found),
          format: word => word,
        }),
      )
    const { cmdlineAgain } = facts
    if (!mayHaveLost(record) || effective === cmdlineAgain)
      return differs(effective)
    // Hardly ever it loses the same characters twice.
    if (cmdlineAgain !== null && differs(cmdlineAgain).length === 0) return []
    return differs(effective).map(({ message }) =>
      invalid('cmdline', `${message} (characters may be lost)`),
    )
  },
)

const mayHaveLost = ({ witnesses }: BootRecord): boolean =>
  witnesses.console?.lossy === true

/** The kernel asked for the KeyIDs, and it was the rig that answered. */
export const checkInterposition = check(
  'interposition',
  ['console', 'module'],
  ({ record, facts }, { module }) =>
    record.end !== 'settled' || module.keyidReads > 0 || panicked(facts)
      ? []
      : [
          invalid(
            'interposition',
            'the kernel never read MSR 0x87 (IA32_MKTME_KEYID_PARTITIONING): it saw no TDX platform at all',
          ),
        ],
)

/** A fault that was asked for has happened, or something stopped before it. */
export const checkFaults = check(
  'faults',
  ['console', 'module'],
  ({ facts }, { module }) =>
    facts.tdx.outcome === 'initialized'
      ? module.unmetFaults.map(({ leaf }) =>
          invalid(
            'faults',
            `a fault on ${leaf.replaceAll('_', '.')} was asked for, and the kernel never met it`,
          ),
        )
      : [],
)

interface ComparedMap {
  readonly check: string
  readonly what: string
  readonly expected: readonly E820Entry[]
  readonly found: readonly E820Entry[]
}

const compareMaps = ({ check: name, what, ...maps }: ComparedMap): Reason[] =>
  differing(
    { kind: 'invalid', check: name, what },
    firstDifference({ what: 'entry', ...maps, format: formatEntry }),
  )

/** The firmware handed over the map of the machine that was asked for. */
export const checkFirmwareMap = check(
  'firmware-map',
  ['console'],
  ({ facts, layout }) =>
    compareMaps({
      check: 'firmware-map',
      what: "the firmware's memory map",
      expected: layout.firmwareMap,
      found: facts.firmwareMap,
    }),
)

/** What did not fit into struct boot_params came along as well. */
export const checkExtendedMap = check(
  'extended-map',
  ['console'],
  ({ facts, layout }) =>
    compareMaps({
      check: 'extended-map',
      what: 'the memory map with the entries beyond the 128th',
      expected: layout.extendedMap ?? [],
      found: facts.extendedMap ?? [],
    }),
)

/** `mem=` and `memmap=` changed the map the way they must. */
export const checkUserMap = check(
  'user-map',
  ['console'],
  ({ facts, layout, item }) => {
    const { userMap } = facts
    if (!layout.userMap && !userMap) return []
    if (!userMap)
      return [
        invalid(
          'user-map',
          'mem= or memmap= was given, but the kernel printed no user-defined physical RAM map',
        ),
      ]
    // The rig hands setup data over itself, or somebody else's boot loader does.
    const seen = (map: readonly E820Entry[]): readonly E820Entry[] =>
      item.machine.board.found ? joinUsable(map) : map
    return compareMaps({
      check: 'user-map',
      what: 'the user-defined memory map',
      expected: seen(layout.userMap ?? []),
      found: seen(userMap),
    })
  },
)

/** The NUMA topology reached the kernel, and it was not thrown away. */
export const checkSrat = check('srat', ['console'], ({ facts, layout }) => {
  const { srat, numaFallback } = facts
  const expected = announcedFallback(layout.numaFallback)
  if (numaFallback !== expected)
    return [
      invalid(
        'srat',
        `how the kernel found its nodes: expected ${expected ?? 'from the SRAT'}, found ${numaFallback ?? 'from the SRAT'}`,
      ),
    ]
  return differing(
    { kind: 'invalid', check: 'srat', what: "the SRAT's memory" },
    firstDifference({
      what: 'entry',
      expected: layout.srat,
      found: srat,
      format: formatNodeRange,
    }),
  )
})

/** dummy_numa_init() has one line for all reasons but numa=off. */
const announcedFallback = (fallback: string | undefined): string | null => {
  if (fallback === undefined) return null
  return fallback === NUMA_OFF ? NUMA_OFF : 'No NUMA configuration found'
}
