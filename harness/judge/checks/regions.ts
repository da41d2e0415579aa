import type { BootRecord } from '../../machine/machine.ts'
import {
  type NodeRange,
  formatNodeRange,
  formatRange,
} from '../../memory/range.ts'
import { LEAF } from '../../tdx/leaves.ts'
import type { Check, Reason } from '../context.ts'
import { differing, firstDifference } from '../differences.ts'
import { panicked } from '../observed-ending.ts'

/** The witnesses of the region list, against the prediction. */

const compare = (
  check: string,
  what: string,
  expected: readonly NodeRange[],
  found: readonly NodeRange[],
): Reason[] =>
  differing(
    'fail',
    check,
    what,
    firstDifference('region', expected, found, formatNodeRange),
  )

const fail = (check: string, message: string): Reason => ({
  kind: 'fail',
  check,
  message,
})

/** Leaves that are called before any kernel needs the list. */
const WITHOUT_LIST: ReadonlySet<number> = new Set([
  LEAF.SYS_INIT,
  LEAF.SYS_LP_INIT,
  LEAF.SYS_LP_SHUTDOWN,
])

/** The initialisation came to where the list is used. */
const usedList = ({ seamcalls }: BootRecord): boolean =>
  seamcalls.some(({ leaf }) => !WITHOUT_LIST.has(leaf))

/** The list in the kernel's memory, when it is used and right after boot. */
export const checkMemoryRegions: Check = ({ layout, record, prediction }) => {
  const { regions, regionsAtBoot } = record
  return [
    ...(regionsAtBoot && prediction.regionsAtBoot
      ? compare(
          'regions-boot',
          "TDX memory regions in the kernel's memory after the early initcalls, against the prediction",
          prediction.regionsAtBoot,
          regionsAtBoot,
        )
      : []),
    ...(usedList(record) && regions?.length === 0
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
          "TDX memory regions in the kernel's memory, against the prediction",
          layout.regions,
          regions,
        )
      : []),
  ]
}

/** Somebody must have seen a list that was built. */
export const checkWitness: Check = context => {
  const { regions, regionsAtBoot, facts } = context.record
  const early = usedList(context.record) ? undefined : regionsAtBoot
  if (facts.tdx.regions ?? regions ?? early) return []
  return listWasBuilt(context)
    ? [
        {
          kind: 'invalid',
          check: 'regions',
          message:
            'nothing shows the region list: the kernel prints none, and has no symbol tdx_memlist to read it by',
        },
      ]
    : []
}

/** What the kernel printed, if it is one that prints. */
export const checkPrintedRegions: Check = context => {
  const { layout, record, kernel } = context
  const { regions, regionCount } = record.facts.tdx
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
      'TDX memory regions the kernel printed, against the prediction',
      layout.regions,
      regions,
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
}

/** A kernel that died before the early initcalls has no list to show. */
const diedEarly = (record: BootRecord): boolean =>
  record.regionsAtBoot === undefined && panicked(record)

const listWasBuilt = ({ record, prediction }: Parameters<Check>[0]): boolean =>
  usedList(record) ||
  (!diedEarly(record) && (prediction.regionsAtBoot?.length ?? 0) > 0)

/** The scenario's own list, against whatever was seen. */
export const checkExpectedRegions: Check = ({ expect, record }) =>
  expect.regions
    ? compare(
        'regions-expected',
        'TDX memory regions, against the scenario',
        expect.regions,
        record.regions ??
          record.facts.tdx.regions ??
          record.regionsAtBoot ??
          [],
      )
    : []

/** What the v6 series calls CMRs it found to be in order; others say CMR. */
const CHECKED = 'Kernel-checked-CMR'

/** CMRs the kernel read with SYS.INFO are those of the platform. */
export const checkCmrs: Check = ({ item, record, kernel }) => {
  const { cmrs, cmrName } = record.facts.tdx
  const read = record.seamcalls.some(
    ({ leaf, status }) => leaf === LEAF.SYS_INFO && status === 0n,
  )
  if (cmrs === null)
    return kernel.series?.printsCmrs && read
      ? [fail('cmrs', 'the kernel read the CMRs, and printed none')]
      : []
  // The module refuses a table that is not in order before a kernel sees it.
  if (cmrName !== null && cmrName !== CHECKED)
    return [
      fail(
        'cmrs',
        `the platform's CMRs are in order, and the kernel calls them ${cmrName}`,
      ),
    ]
  return differing(
    'fail',
    'cmrs',
    'convertible memory the kernel printed',
    firstDifference('CMR', item.platform.cmrs, cmrs, formatRange),
  )
}
