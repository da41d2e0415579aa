import {
  type NodeRange,
  formatNodeRange,
  formatRange,
} from '../../memory/range.ts'
import { LEAF, type LeafName } from '../../tdx/leaves.ts'
import { type Context, type Reason, check, unseen } from '../context.ts'
import { differing, firstDifference } from '../differences.ts'
import { panicked } from '../observed-ending.ts'

/** The witnesses of the region list, compared with the prediction. */

const compare = (
  name: string,
  what: string,
  {
    expected,
    found,
  }: {
    readonly expected: readonly NodeRange[]
    readonly found: readonly NodeRange[]
  },
): Reason[] =>
  differing(
    { kind: 'fail', check: name, what },
    firstDifference({
      what: 'region',
      expected,
      found,
      format: formatNodeRange,
    }),
  )

const fail = (name: string, message: string): Reason => ({
  kind: 'fail',
  check: name,
  message,
})

const leafNames = new Map(
  Object.entries(LEAF).map(([name, leaf]): [number, LeafName] => [
    leaf,
    name as LeafName,
  ]),
)

/**
 * The initialisation came to where the list is used, as far as somebody saw
 * it: the module, or else the kernel itself.
 */
const usedList = ({ record, facts, kernel: { series } }: Context): boolean => {
  const { module } = record.witnesses
  // Of an unknown series nobody knows which leaf comes first after the list.
  return module && series
    ? module.seamcalls.some(
        ({ leaf }) => !series.leavesBeforeList.has(leafNames.get(leaf)!),
      )
    : facts.tdx.outcome === 'initialized' || facts.tdx.pamtKib !== null
}

/** The list in the kernel's memory, when it is used and right after boot. */
export const checkMemoryRegions = check(
  'regions-memory',
  ['memory'],
  (context, { memory: { regions, regionsAtBoot } }) => {
    const { layout, prediction } = context
    return [
      ...(regionsAtBoot && prediction.regionsAtBoot
        ? compare(
            'regions-boot',
            "TDX memory regions in the kernel's memory after the early initcalls, compared with the prediction",
            { expected: prediction.regionsAtBoot, found: regionsAtBoot },
          )
        : []),
      ...(usedList(context) && regions?.length === 0
        ? [
            fail(
              'regions-memory',
              "the initialisation went on, but tdx_memlist in the kernel's memory is empty",
            ),
          ]
        : []),
      ...(regions && regions.length > 0
        ? compare(
            'regions-memory',
            "TDX memory regions in the kernel's memory, compared with the prediction",
            { expected: layout.regions, found: regions },
          )
        : []),
    ]
  },
)

/** Somebody must have seen a list that was built. */
export const checkWitness = check(
  'regions',
  ['console', 'memory'],
  (context, { memory }) => {
    const early = usedList(context) ? null : memory.regionsAtBoot
    if (context.facts.tdx.regions ?? memory.regions ?? early) return []
    if (!listWasBuilt(context)) return []
    // TDMRs and PAMTs, which are made of it, are looked at all the same.
    if (!context.kernel.hasMemlist) return unseen('memory')
    return [
      {
        kind: 'invalid',
        check: 'regions',
        message:
          'nothing shows the region list: the kernel printed none, and tdx_memlist was not read from its memory',
      },
    ]
  },
)

/** What the kernel printed, if it is one that prints. */
export const checkPrintedRegions = check(
  'regions-printed',
  ['console'],
  context => {
    const { layout, facts, kernel } = context
    const { regions, regionCount } = facts.tdx
    if (regions === null)
      return kernel.printsRegions && listWasBuilt(context)
        ? [
            fail(
              'regions-printed',
              'this kernel prints its TDX memory regions, and the console has none',
            ),
          ]
        : []
    return [
      ...compare(
        'regions-printed',
        'TDX memory regions the kernel printed, compared with the prediction',
        { expected: layout.regions, found: regions },
      ),
      ...(regionCount === regions.length
        ? []
        : [
            fail(
              'regions-count',
              `the kernel printed ${regions.length} TDX memory regions, and counts ${regionCount ?? 'none'}`,
            ),
          ]),
    ]
  },
)

/** A kernel that panicked before the early initcalls has no list to show. */
const diedEarly = ({ record, facts }: Context): boolean =>
  (record.witnesses.memory?.regionsAtBoot ?? null) === null && panicked(facts)

const listWasBuilt = (context: Context): boolean =>
  usedList(context) ||
  (!diedEarly(context) && (context.prediction.regionsAtBoot?.length ?? 0) > 0)

/** The scenario's own list, compared with whatever was seen. */
export const checkExpectedRegions = check(
  'regions-expected',
  ['console'],
  ({ expect, facts, record, kernel }) => {
    if (!expect.regions) return []
    const { memory } = record.witnesses
    const found = memory?.regions ?? facts.tdx.regions ?? memory?.regionsAtBoot
    if (!found && !(memory && kernel.hasMemlist)) return unseen('memory')
    return compare(
      'regions-expected',
      'TDX memory regions, compared with the scenario',
      { expected: expect.regions, found: found ?? [] },
    )
  },
)

/** CMRs the kernel read with SYS.INFO are those of the platform. */
export const checkCmrs = check(
  'cmrs',
  ['console'],
  ({ item, record, facts, kernel }) => {
    const { cmrs, cmrName } = facts.tdx
    const read = record.witnesses.module?.seamcalls.some(
      ({ leaf, status }) => leaf === LEAF.SYS_INFO && status === 0n,
    )
    if (cmrs === null && kernel.series?.printsCmrs && read === undefined)
      return unseen('module')
    const hasAny = item.platform.cmrs.some(({ start, end }) => start < end)
    if (cmrs === null)
      return kernel.series?.printsCmrs && read && hasAny
        ? [fail('cmrs', 'the kernel read the CMRs, and printed none')]
        : []
    // The module refuses a table that is not in order before a kernel sees it.
    if (cmrName !== null && cmrName !== kernel.series?.checkedCmrName)
      return [
        fail(
          'cmrs',
          `the platform's CMRs are in order, and the kernel calls them ${cmrName}`,
        ),
      ]
    return differing(
      {
        kind: 'fail',
        check: 'cmrs',
        what: 'convertible memory the kernel printed',
      },
      firstDifference({
        what: 'CMR',
        expected: item.platform.cmrs,
        found: cmrs,
        format: formatRange,
      }),
    )
  },
)
