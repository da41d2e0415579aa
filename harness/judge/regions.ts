import type { BootRecord } from '../machine/machine.ts'
import {
  type NodeRange,
  formatNodeRange,
  formatRange,
} from '../memory/range.ts'
import { LEAF } from '../tdx/leaves.ts'
import type { Check, Reason } from './context.ts'
import { differing, firstDifference } from './differences.ts'

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
  ...[LEAF.SYS_INIT, LEAF.SYS_LP_INIT, LEAF.SYS_LP_SHUTDOWN],
])

/** The initialisation came to where the list is used. */
const usedList = ({ seamcalls }: BootRecord): boolean =>
  seamcalls.some(({ leaf }) => !WITHOUT_LIST.has(leaf))

/** The list in the kernel's memory, when it is used and right after boot. */
export const checkMemoryRegions: Check = ({ layout, record, prediction }) => {
  const { regions, regionsAtBoot } = record
  const empty = regions?.length === 0 || !regions
  return [
    ...(regionsAtBoot && prediction.regionsAtBoot
      ? compare(
          'regions-boot',
          "TDX memory regions in the kernel's memory after the early initcalls, against the prediction",
          prediction.regionsAtBoot,
          regionsAtBoot,
        )
      : []),
    ...(usedList(record) && empty
      ? [
          fail(
            'regions-memory',
            "the initialisation went on, but tdx_memlist in the kernel's memory is empty",
          ),
        ]
      : []),
    ...(regions && !empty
      ? compare(
          'regions-memory',
          "TDX memory regions in the kernel's memory, against the prediction",
          layout.regions,
          regions,
        )
      : []),
  ]
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

const listWasBuilt = ({ record, prediction }: Parameters<Check>[0]): boolean =>
  usedList(record) || (prediction.regionsAtBoot?.length ?? 0) > 0

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

/** CMRs the kernel read with SYS.INFO are those of the platform. */
export const checkCmrs: Check = ({ item, record }) => {
  const { cmrs } = record.facts.tdx
  return cmrs
    ? differing(
        'fail',
        'cmrs',
        'convertible memory the kernel printed',
        firstDifference('CMR', item.platform.cmrs, cmrs, formatRange),
      )
    : []
}
