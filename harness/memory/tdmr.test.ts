import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { GIB, MIB } from '../base/units.ts'
import { totalSize, union } from './range.ts'
import { tdxMemoryRegions } from './regions.ts'
import { fillOutTdmrs, modelTdmrs, pamtKib, tdmrHoles } from './tdmr.ts'

const LIMITS = {
  maxTdmrs: 64,
  maxReservedPerTdmr: 16,
  pamtEntrySizes: [16, 16, 16] as const,
}

t.test('PAMT sizes of real machines, from their TDMRs', async t => {
  // 64 GiB in 3 TDMRs, 256 GiB in 5 and 3, 252 GiB in 3: public kernel logs.
  const cases: [tdmrs: number[], kib: number][] = [
    [[2, 30, 32], 262668],
    [[2, 62, 64, 64, 64], 1050644],
    [[2, 126, 128], 1050636],
    [[2, 124, 126], 1034220],
  ]
  for (const [sizes, kib] of cases) {
    let at = 0
    const regions = sizes.map(size => {
      const start = at
      at += (size + 1) * GIB
      return { start, end: start + size * GIB, node: 0 }
    })
    t.equal(pamtKib(modelTdmrs(regions, LIMITS)), kib, `${sizes.join('+')} GiB`)
  }
})

t.test(
  'TDMRs: aligned, in order, all regions covered, holes are the rest',
  async t => {
    const page = 4096
    const region = fc.tuple(
      fc.integer({ min: 1, max: 600_000 }),
      fc.integer({ min: 1, max: 600_000 }),
    )
    holds(
      t,
      'TDMRs: aligned, in order, all regions covered, holes are the rest',
      fc.property(fc.array(region, { minLength: 1, maxLength: 12 }), steps => {
        let at = 256
        const regions = steps.map(([gap, length], node) => {
          const start = (at + gap) * page
          at += gap + length
          return { start, end: at * page, node }
        })
        const tdmrs = fillOutTdmrs(regions)
        const aligned = tdmrs.every(
          (tdmr, i) =>
            tdmr.start % GIB === 0 &&
            tdmr.end % GIB === 0 &&
            tdmr.start < tdmr.end &&
            (i === 0 || tdmrs[i - 1]!.end <= tdmr.start),
        )
        const holes = tdmrs.flatMap(tdmr => tdmrHoles(tdmr, regions))
        return (
          aligned &&
          totalSize(holes) === totalSize(tdmrs) - totalSize(regions) &&
          union([...holes, ...regions]).length === union(tdmrs).length
        )
      }),
    )
  },
)

t.test('regions: above 1 MiB, whole pages, node kept', async t => {
  t.same(
    tdxMemoryRegions([
      { start: 0x1000, end: 0x9f000, node: 0 },
      { start: 0x80000, end: 0x200800, node: 0 },
      { start: 0x300400, end: 0x300c00, node: 1 },
    ]),
    [{ start: MIB, end: 0x200000, node: 0 }],
  )
})
