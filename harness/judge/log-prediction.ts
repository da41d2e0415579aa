import type { Facts } from '../console/facts.ts'
import { MIB, PHYSICAL_LIMIT } from '../base/units.ts'
import { memoryParameters, splitWords } from '../memory/cmdline.ts'
import { addMemory } from '../memory/memblock.ts'
import {
  type Layout,
  layoutOfRegions,
  predictLayout,
} from '../memory/predict.ts'
import { formatNodeRange } from '../memory/range.ts'
import { tdxMemoryRegions } from '../memory/regions.ts'
import { MEMORY_RULES, type MemoryRules } from '../memory/rules.ts'
import type { SratReading } from '../memory/srat.ts'
import { HOST_KERNELS } from '../tdx/host.ts'
import { MODULE_LIMITS, type Platform } from '../tdx/platform.ts'
import type { Basis } from './context.ts'
import { firstDifference } from './differences.ts'
import { predictOutcome } from './outcome.ts'
import type { Ending } from './predicted.ts'

/** What a kernel must have built on the machine that wrote a log. */
export interface LogPrediction extends Ending {
  readonly words: readonly string[]
  readonly keyids: Platform['keyids']
  readonly layout: Layout
  /** `console`: the log contradicts the model, its node ranges count. */
  readonly basis: Basis
  /** What a reader should know about how far this goes. */
  readonly notes: readonly string[]
}

/** What most machines have, for logs that do not say it. */
const USUAL_KEYIDS = { mktme: 31, tdx: 32 }

/**
 * The prediction for a kernel's log: its map, its command line and its SRAT,
 * held against its own node ranges.
 *
 * @param facts of a log that has the firmware's memory map
 */
export const predictFromLog = (facts: Facts): LogPrediction => {
  const words = splitWords(facts.cmdline ?? '')
  const predicted = predictLayout(
    { e820: facts.extendedMap ?? facts.firmwareMap, srat: sratOf(facts) },
    words.join(' '),
    MODULE_LIMITS,
    rulesOf(facts.kernel),
  )
  const { layout, basis, note } = heldAgainst(predicted, facts)
  const platform = platformOf(facts)
  return {
    ...{ words, keyids: platform.keyids, layout, basis },
    ...predictOutcome(
      {
        ...{ platform, words, steps: [{ kind: 'trigger' }] },
      },
      layout,
      HOST_KERNELS.upstream,
      false,
    ),
    notes: [...note, ...notesOn(facts, words)],
  }
}

/** 6.8 is the first that asks memblock whether nodes cover all memory. */
const NEW_RULES_SINCE = [6, 8] as const

const rulesOf = (kernel: string | null): MemoryRules => {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(kernel ?? '') ?? []
  if (major === undefined) return MEMORY_RULES['6.12']
  const [since, minorSince] = NEW_RULES_SINCE
  const isOld =
    Number(major) < since ||
    (Number(major) === since && Number(minor) < minorSince)
  return MEMORY_RULES[isOld ? '6.1' : '6.12']
}

/** The log has the kernel's own node numbers. */
const sratOf = ({ srat }: Facts): SratReading | undefined =>
  srat.length === 0
    ? undefined
    : {
        rejected: undefined,
        nodes: new Map(srat.map(({ node }) => [node, node])),
        blocks: srat,
      }

/** The kernel's own node ranges decide, where they are in the log. */
const heldAgainst = (
  predicted: Layout,
  { nodeRanges }: Facts,
): { layout: Layout; basis: Basis; note: string[] } => {
  if (nodeRanges.length === 0)
    return {
      ...{ layout: predicted, basis: 'machine' },
      note: ["the log has no 'Early memory node ranges' to compare with"],
    }
  const memblock = addMemory(nodeRanges, [])
  const difference = firstDifference(
    'range',
    predicted.memblock,
    memblock,
    formatNodeRange,
  )
  if (!difference)
    return {
      ...{ layout: predicted, basis: 'machine' },
      note: ["the kernel's own early memory node ranges agree with the model"],
    }
  return {
    layout: {
      ...{ ...predicted, memblock, unpredictable: [] },
      ...layoutOfRegions(tdxMemoryRegions(memblock), MODULE_LIMITS, false),
    },
    basis: 'console',
    note: [
      `the kernel's own early memory node ranges count, not the model's: ${difference.message}`,
    ],
  }
}

const platformOf = ({ tdx }: Facts): Platform => ({
  keyids: tdx.keyids
    ? { mktme: tdx.keyids[0] - 1, tdx: tdx.keyids[1] - tdx.keyids[0] }
    : USUAL_KEYIDS,
  ...{ module: '1.5', x2apic: true, lps: 1, packageOf: [0] },
  // Nothing can be outside of CMRs nobody printed.
  cmrs: tdx.cmrs ?? [{ start: MIB, end: PHYSICAL_LIMIT }],
  ...{ physicalBits: 52, faults: [] },
})

const notesOn = (
  { cmdline, tdx }: Facts,
  words: readonly string[],
): string[] => [
  ...(cmdline === null
    ? ['the log has no command line: none was assumed']
    : memoryParameters(words.join(' ')).errors.map(
        ({ element, message }) =>
          `'${element}' on the command line: ${message}`,
      )),
  ...(tdx.keyids ? [] : ['the log names no private KeyIDs: 32 were assumed']),
  ...(tdx.cmrs
    ? []
    : ['no CMRs were read from the log: all memory was taken for convertible']),
  'the outcome is that of Linux 6.8 to 6.15 with a module that does its work',
]
