import type { Facts } from '../console/facts.ts'
import { MIB, PHYSICAL_LIMIT } from '../base/units.ts'
import {
  memoryParameters,
  parseCmdline,
  splitWords,
} from '../memory/cmdline.ts'
import { type E820Entry, formatEntry, joinUsable } from '../memory/e820.ts'
import { joinNeighbours, mergeNodes } from '../memory/memblock.ts'
import {
  type Layout,
  layoutOfRegions,
  predictLayout,
} from '../memory/predict.ts'
import {
  type NodeRange,
  type Range,
  formatNodeRange,
  intersect,
} from '../memory/range.ts'
import { tdxMemoryRegions } from '../memory/regions.ts'
import { MAX_NODE_BLOCKS } from '../memory/rules.ts'
import type { SratReading } from '../memory/srat.ts'
import {
  type RecognisedLog,
  linuxVersion,
  seriesOfLog,
  seriesOfVersion,
} from '../tdx/series/recognise.ts'
import type { Series } from '../tdx/series/index.ts'
import { MODULE_LIMITS } from '../tdx/metadata-values.ts'
import type { Platform } from '../tdx/platform.ts'
import { DEFAULT_PROFILE } from '../tdx/profile.ts'
import type { Basis } from './context.ts'
import { cutNote, mapOf, missingNotes, startMap } from './log-map.ts'
import { firstDifference } from './differences.ts'
import { predictEnding } from './predict-ending.ts'
import type { Ending } from './predicted-ending.ts'

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
 * compared with its own node ranges.
 *
 * @param facts of a log that shows memory: see {@link showsMemory}
 */
export const predictFromLog = (facts: Facts): LogPrediction => {
  const words = splitWords(facts.cmdline ?? '')
  const { predicted, note: mapNote } = fromMap(facts, words)
  const { layout, basis, note } =
    startMap(facts) === undefined
      ? ofNodes(predicted, facts, words)
      : comparedWith(predicted, facts, words)
  const platform = platformOf(facts)
  return {
    words,
    keyids: platform.keyids,
    layout,
    basis,
    ...predictEnding({
      item: {
        platform,
        allocations: undefined,
        words,
        steps: [{ kind: 'trigger' }],
      },
      layout,
      series: recognised(facts).series,
      failsRegions: false,
      // Not known: the line that says so is seen where it matters.
      hibernates: false,
    }),
    notes: [...mapNote, ...note, ...notesOn(facts, words)],
  }
}

/**
 * The layout by the map and the command line. Where the kernel made another
 * map of them, as when the boot loader ate a `$`, its map counts.
 */
const fromMap = (
  facts: Facts,
  words: readonly string[],
): { predicted: Layout; note: string[] } => {
  const predict = (
    e820: readonly E820Entry[],
    cmdline: readonly string[],
  ): Layout =>
    predictLayout({
      firmware: { e820, srat: sratOf(facts) },
      cmdline: cmdline.join(' '),
      limits: MODULE_LIMITS,
      rules: memorySeries(facts).memoryRules,
    })
  const start = startMap(facts)
  const firmwareMap = start?.of === 'user' ? [] : mapOf(facts)
  const { userMap, modifiedMap } = facts
  const others = words.filter(word => !isMapWord(word))
  // Whatever was done before, it is in this one.
  if (modifiedMap && modifiedMap.length > 0)
    return {
      predicted: {
        ...predict(modifiedMap, others),
        firmwareMap,
        userMap: userMap ?? undefined,
      },
      note: [],
    }
  if (start?.of === 'user')
    return {
      predicted: {
        ...predict(start.entries, others),
        firmwareMap,
        userMap: start.entries,
      },
      note: [
        "the log has the map after the command line alone ('user:'), and not the firmware's",
      ],
    }
  const predicted = predict(firmwareMap, words)
  if (!userMap)
    return {
      predicted,
      note: predicted.userMap
        ? ['the log has no user-defined map to compare with']
        : [],
    }
  const difference = firstDifference({
    what: 'entry',
    expected: joinUsable(predicted.userMap ?? []),
    found: joinUsable(userMap),
    format: formatEntry,
  })
  if (!difference) return { predicted, note: [] }
  const asked = words.some(isMapWord)
  return {
    predicted: { ...predict(userMap, others), firmwareMap, userMap },
    // Without a command line there is nothing that it could differ from.
    note: asked
      ? [
          `the kernel's own user-defined map counts, not the model's: ${difference.message}`,
        ]
      : [],
  }
}

const isMapWord = (word: string): boolean => /^"?mem(?:map)?=/.test(word)

/** The series a log is judged by. */
export const recognised = ({ kernel, tdx }: Facts): RecognisedLog =>
  seriesOfLog({ release: kernel, message: tdx.lastMessage })

/** Rules of memory go by the version, whatever series of TDX is in it. */
const memorySeries = (facts: Facts): Series =>
  seriesOfVersion(facts.kernel) ?? recognised(facts).series

const versionNote = (facts: Facts): string[] => {
  const { otherRules } = memorySeries(facts)
  const version = linuxVersion(facts.kernel)
  return otherRules && version !== undefined && version < otherRules.before
    ? [otherRules.note]
    : []
}

/** Whose outcome is predicted. */
const seriesNote = (facts: Facts): string => {
  const { series, doubt } = recognised(facts)
  const outcome = `the outcome is predicted for ${series.title}, with a module that does its work`
  return doubt === undefined ? outcome : `${doubt}: ${outcome}, and may differ`
}

/** The log has the kernel's own node numbers, and its word on the table. */
const sratOf = ({ srat, numaFallback }: Facts): SratReading | undefined =>
  srat.length === 0
    ? undefined
    : {
        rejected:
          srat.length > MAX_NODE_BLOCKS
            ? 'too many memblk ranges'
            : (numaFallback ?? undefined),
        disabled: srat.length > MAX_NODE_BLOCKS,
        nodes: new Map(srat.map(({ node }) => [node, node])),
        blocks: srat.map(range => ({ ...range, domain: range.node })),
      }

/**
 * Ranges that touch are printed one by one where memblock has flags for them.
 * Those for hot-plug are cleared before TDX looks (free_low_memory_core_early()),
 * those of mirrored memory are not (memblock_mark_mirror(), mm/memblock.c).
 */
const memblockOf = (facts: Facts): NodeRange[] => {
  const { nodeRanges, remarks, cmdline, srat } = facts
  const isMirrored =
    remarks.some(({ kind }) => kind === 'mirrored') &&
    parseCmdline(cmdline ?? '').some(
      ({ name, value }) =>
        name === 'kernelcore' && value?.split(',').includes('mirror') === true,
    )
  if (!isMirrored) return mergeNodes(nodeRanges)
  const hotplugBorders = new Set(
    srat.flatMap(({ hotplug, start, end }) => (hotplug ? [start, end] : [])),
  )
  return joinNeighbours(
    nodeRanges.map(({ start, end, node }) => ({ start, end, node })),
    (a, b) => a.node === b.node && hotplugBorders.has(b.start),
  )
}

/** A log without a map: what its nodes have is the memory. */
const ofNodes = (
  empty: Layout,
  facts: Facts,
  words: readonly string[],
): { layout: Layout; basis: Basis; note: string[] } => {
  const memblock = memblockOf(facts)
  return {
    layout: {
      ...empty,
      userMap: undefined,
      fatal: undefined,
      invalidMap: false,
      memblock,
      unpredictable: [],
      ...builtOf(memblock, facts, words),
    },
    basis: 'console',
    note: [
      "the log has no memory map: its 'Early memory node ranges' are the memory",
      ...(facts.whole.nodeRanges
        ? []
        : ['the log ends within them: some may be missing']),
    ],
  }
}

/** What follows of the memory that a kernel has. */
const builtOf = (
  memblock: readonly NodeRange[],
  facts: Facts,
  words: readonly string[],
): ReturnType<typeof layoutOfRegions> =>
  layoutOfRegions(
    tdxMemoryRegions(memblock),
    MODULE_LIMITS,
    memoryParameters(words.join(' ')).pamtSource,
    movableOf(facts, memblock),
  )

/** ZONE_MOVABLE, of nodes for which the log says where it begins. */
const movableOf = (
  { movable }: Facts,
  memblock: readonly NodeRange[],
): Range[] =>
  memblock.flatMap(range => {
    const zone = movable.find(({ node }) => node === range.node)
    if (!zone || zone.start === 0) return []
    return intersect(range, { start: zone.start, end: PHYSICAL_LIMIT }) ?? []
  })

/** The kernel's own node ranges decide, where they are in the log. */
const comparedWith = (
  predicted: Layout,
  facts: Facts,
  words: readonly string[],
): { layout: Layout; basis: Basis; note: string[] } => {
  const { nodeRanges, tdx, whole, movable } = facts
  const survivor = {
    ...predicted,
    // It lives: on this machine something is not as the model has it, a SLIT.
    fatal: tdx.keyids ? undefined : predicted.fatal,
    ...(movable.length > 0 && builtOf(predicted.memblock, facts, words)),
  }
  if (nodeRanges.length === 0 || !whole.nodeRanges)
    return {
      layout: survivor,
      basis: 'machine',
      note: [
        `the log has no ${nodeRanges.length > 0 ? 'end of its ' : ''}'Early memory node ranges' to compare with`,
      ],
    }
  const memblock = memblockOf(facts)
  const difference = firstDifference({
    what: 'range',
    expected: predicted.memblock,
    found: memblock,
    format: formatNodeRange,
  })
  if (!difference)
    return {
      layout: survivor,
      basis: 'machine',
      note: ["the kernel's own early memory node ranges agree with the model"],
    }
  return {
    layout: {
      ...survivor,
      memblock,
      unpredictable: [],
      ...builtOf(memblock, facts, words),
    },
    basis: 'console',
    note: [
      `the kernel's own early memory node ranges count, not the model's: ${difference.message}`,
    ],
  }
}

/** 15 bits count KeyIDs; what is beyond that was not printed by a kernel. */
const MAX_KEYIDS = 0x8000

export const keyidsOf = (
  keyids: Facts['tdx']['keyids'],
): Platform['keyids'] | undefined => {
  const [start, end] = keyids ?? [0, 0]
  return start >= 1 && start < end && end <= MAX_KEYIDS
    ? { mktme: start - 1, tdx: end - start }
    : undefined
}

const platformOf = ({ tdx }: Facts): Platform => ({
  keyids: keyidsOf(tdx.keyids) ?? USUAL_KEYIDS,
  module: DEFAULT_PROFILE,
  x2apic: true,
  vmx: true,
  updatesLeft: 0,
  lps: 1,
  packageOf: [0],
  // Nothing can be outside of CMRs nobody printed.
  cmrs: tdx.cmrs?.filter(({ start, end }) => start < end) ?? [
    { start: MIB, end: PHYSICAL_LIMIT },
  ],
  physicalBits: 52,
  faults: [],
  vmxonFails: undefined,
  tdmrInitBytes: undefined,
  metadata: {},
})

const notesOn = (facts: Facts, words: readonly string[]): string[] => {
  const { cmdline, tdx } = facts
  return [
    ...(cmdline === null
      ? ['the log has no command line: none was assumed']
      : memoryParameters(words.join(' ')).errors.map(
          ({ element, message }) =>
            `'${element.slice(0, 80)}' after memmap= or mem= on the command line: ${message}`,
        )),
    ...(startMap(facts)?.of === 'firmware' ? wholeNotes(facts) : []),
    ...cutNote(facts),
    ...missingNotes(facts),
    ...(keyidsOf(tdx.keyids)
      ? []
      : ['the log names no private KeyIDs: 32 were assumed']),
    ...(tdx.cmrs
      ? []
      : ['the log names no CMRs: all memory was taken for convertible']),
    ...versionNote(facts),
    seriesNote(facts),
  ]
}

/** A log that begins or ends within its map has only a part of it. */
const wholeNotes = ({ whole, unread }: Facts): string[] => [
  ...(whole.map
    ? []
    : [
        "the log has no 'BIOS-provided physical RAM map:', or nothing behind the map: a part of it may be missing",
      ]),
  ...(unread > 0
    ? [`${unread} lines about memory could not be read, and were left out`]
    : []),
]
