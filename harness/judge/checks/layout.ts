import { hex } from '../../base/units.ts'
import { mergeNodes } from '../../memory/memblock.ts'
import { formatNodeRange } from '../../memory/range.ts'
import { reservedSpans } from '../../tdx/tdmr-info.ts'
import type { Span, TdmrInfo } from '../../tdx/tdmr-info.ts'
import { announcedKeyids, privateKeyids } from '../../tdx/platform.ts'
import type { TdmrPrediction } from '../../memory/predict.ts'
import { type Reason, check } from '../context.ts'
import { type Difference, differing, firstDifference } from '../differences.ts'

/** What the kernel built: regions, TDMRs and PAMTs, against the prediction. */

const fail = (
  name: string,
  what: string,
  difference: Difference | undefined,
): Reason[] => differing({ kind: 'fail', check: name, what }, difference)

/**
 * memblock.memory by node, as the kernel prints it for every boot. It keeps
 * hot-pluggable memory apart until memblock_free_all().
 */
export const checkNodeRanges = check(
  'node-ranges',
  ['console'],
  ({ layout, record, facts, basis }) =>
    basis === 'console' || record.end !== 'settled'
      ? []
      : fail(
          'node-ranges',
          'early memory node ranges',
          firstDifference({
            what: 'range',
            expected: layout.memblock,
            found: mergeNodes(facts.nodeRanges),
            format: formatNodeRange,
          }),
        ),
)

const formatSpan = ({ base, size }: Span): string =>
  `[${hex(base)}, ${hex(base + size)})`

/** What the kernel gave to TDH.SYS.CONFIG. */
export const checkTdmrs = check(
  'tdmrs',
  ['console', 'module'],
  ({ layout, facts }, { module: { tdmrs } }) => {
    if (tdmrs) return compareTdmrs(layout.tdmrs, tdmrs)
    return facts.tdx.outcome === 'initialized'
      ? [
          {
            kind: 'fail',
            check: 'tdmrs',
            message:
              'the kernel says initialized, but never called TDH.SYS.CONFIG',
          },
        ]
      : []
  },
)

const compareTdmrs = (
  predicted: readonly TdmrPrediction[],
  tdmrs: readonly TdmrInfo[],
): Reason[] => {
  const shape = firstDifference({
    what: 'TDMR',
    expected: predicted.map(({ start, end, pamtSizes }) =>
      describeTdmr(
        { base: BigInt(start), size: BigInt(end - start) },
        pamtSizes.map(BigInt),
      ),
    ),
    found: tdmrs.map(tdmr =>
      describeTdmr(
        tdmr,
        tdmr.pamt.map(({ size }) => size),
      ),
    ),
    format: text => text,
  })
  if (shape) return fail('tdmrs', 'TDMRs given to TDH.SYS.CONFIG', shape)
  return tdmrs.flatMap((tdmr, i) =>
    fail(
      'reserved-areas',
      `reserved areas of TDMR ${i}`,
      firstDifference({
        what: 'area',
        expected: expectedAreas(tdmr, predicted[i]!, tdmrs),
        found: reservedSpans(tdmr),
        format: formatSpan,
      }),
    ),
  )
}

const describeTdmr = (span: Span, pamtSizes: readonly bigint[]): string =>
  `${formatSpan(span)} with PAMTs of ${pamtSizes.map(hex).join(', ')} bytes`

/**
 * Holes as predicted, and what of any PAMT lies in the TDMR: where PAMTs are is
 * the page allocator's choice, so their addresses are taken as found.
 */
const expectedAreas = (
  tdmr: TdmrInfo,
  { holes }: TdmrPrediction,
  tdmrs: readonly TdmrInfo[],
): Span[] => {
  const end = tdmr.base + tdmr.size
  const pamts = tdmrs.flatMap(({ pamt }) => {
    const base = pamt[0].base
    const last = pamt[2].base + pamt[2].size
    const from = base > tdmr.base ? base : tdmr.base
    const to = last < end ? last : end
    return from < to ? [{ base: from, size: to - from }] : []
  })
  const spans = holes.map(hole => ({
    base: BigInt(hole.start),
    size: BigInt(hole.end - hole.start),
  }))
  return [...spans, ...pamts].sort((a, b) => (a.base < b.base ? -1 : 1))
}

/** `%lu KB allocated for PAMT`. */
export const checkPamt = check(
  'pamt',
  ['console'],
  ({ expect, layout, facts }) => {
    const { pamtKib, outcome } = facts.tdx
    if (pamtKib === null && outcome !== 'initialized') return []
    const expected = `${expect.pamtKib ?? layout.pamtKib} KiB`
    const found = pamtKib === null ? 'no size' : `${pamtKib} KiB`
    return found === expected
      ? []
      : [
          {
            kind: 'fail',
            check: 'pamt',
            message: `PAMT size: expected ${expected}, the kernel printed ${found}`,
            expected,
            found,
          },
        ]
  },
)

/** The KeyID range the kernel announced is the platform's. */
export const checkKeyids = check('keyids', ['console'], ({ item, facts }) => {
  const { keyids, outcome } = facts.tdx
  if (outcome === 'absent') return []
  const { platform } = item
  const expected =
    announcedKeyids(platform) === 0
      ? 'none'
      : `[${privateKeyids(platform).join(', ')})`
  const found = keyids ? `[${keyids.join(', ')})` : 'none'
  return expected === found
    ? []
    : [
        {
          kind: 'fail',
          check: 'keyids',
          message: `private KeyIDs: expected ${expected}, the kernel announced ${found}`,
          expected,
          found,
        },
      ]
})
