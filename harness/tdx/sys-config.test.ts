import t from 'tap'
import { GIB, MIB } from '../base/units.ts'
import { type StatusName, statusName, statusWithBytes } from './status.ts'
import { type ConfigLimits, checkTdmr } from './sys-config.ts'
import type { Span, TdmrInfo } from './tdmr-info.ts'

const G = BigInt(GIB)
const PAGE = 4096n
const limits = {
  cmrs: [
    { start: MIB, end: 2 * GIB },
    { start: 2 * GIB, end: 16 * GIB },
  ],
  maxAddress: 1n << 46n,
  pamtEntrySizes: [16, 16, 16] as const,
}

/** 4 MiB of PAMT for each GiB, then 2M and 1G, from an address on. */
const pamts = (base: bigint): [Span, Span, Span] => [
  { base, size: 0x400000n },
  { base: base + 0x400000n, size: 0x2000n },
  { base: base + 0x402000n, size: PAGE },
]

const areas = (
  ...list: [offset: bigint, size: bigint][]
): TdmrInfo['reserved'] =>
  Array.from({ length: 16 }, (_, i) => ({
    offset: list[i]?.[0] ?? 0n,
    size: list[i]?.[1] ?? 0n,
  }))

/** One GiB at `at`; PAMTs lie at 12 GiB and more, outside of all TDMRs. */
const tdmr = (at: bigint, change: Partial<TdmrInfo> = {}): TdmrInfo => ({
  base: at * G,
  size: G,
  pamt: pamts(12n * G + at * 0x1000000n),
  reserved: areas(),
  ...change,
})

/** All TDMRs in order, to the first status that fails. */
const checkTdmrs = (
  tdmrs: readonly TdmrInfo[],
  limits: ConfigLimits,
): bigint | undefined => {
  for (const index of tdmrs.keys()) {
    const wrong = checkTdmr(tdmrs, index, limits)
    if (wrong !== undefined) return wrong
  }
  return undefined
}

const check = (...tdmrs: TdmrInfo[]): string => {
  const status = checkTdmrs(tdmrs, limits)
  return status === undefined
    ? 'ok'
    : `${statusName(status) ?? '?'} ${(status & 0xffffffffn).toString(16)}`
}

t.test('what must be accepted', async t => {
  t.equal(check(tdmr(1n)), 'ok')
  t.equal(check(tdmr(1n), tdmr(2n), tdmr(5n)), 'ok')
  t.equal(
    check(tdmr(0n, { reserved: areas([0n, BigInt(MIB)]) })),
    'ok',
    'the first MiB reserved',
  )
  const twoGib: [Span, Span, Span] = [
    { base: 12n * G, size: 0x800000n },
    { base: 13n * G, size: 0x4000n },
    { base: 14n * G, size: PAGE },
  ]
  t.equal(
    check(tdmr(1n, { size: 2n * G, pamt: twoGib })),
    'ok',
    'over touching CMRs',
  )
  const inside = pamts(G + 0x10000000n)
  t.equal(
    check(
      tdmr(1n, { pamt: inside, reserved: areas([0x10000000n, 0x403000n]) }),
    ),
    'ok',
    'PAMT in a reserved area',
  )
  const full = areas(
    ...Array.from({ length: 16 }, (_, i): [bigint, bigint] => [
      BigInt(i) * 0x100000n,
      PAGE,
    ]),
  )
  t.equal(check(tdmr(1n, { reserved: full })), 'ok', 'all 16 areas')
  t.equal(
    check(tdmr(20n, { reserved: areas([0n, G]) })),
    'ok',
    'outside of CMRs, but wholly reserved',
  )
})

t.test('each check, by its status and details', async t => {
  const table: [
    name: string,
    tdmrs: TdmrInfo[],
    status: StatusName,
    details: string,
  ][] = [
    [
      'base + size overflows',
      [tdmr(1n, { base: (1n << 64n) - G, size: 2n * G })],
      'INVALID_TDMR',
      '0',
    ],
    [
      'lower than the one before',
      [tdmr(2n), tdmr(1n)],
      'NON_ORDERED_TDMR',
      '1',
    ],
    [
      'overlaps the one before',
      [
        tdmr(1n, {
          size: 2n * G,
          pamt: [
            { base: 12n * G, size: 0x800000n },
            { base: 13n * G, size: 0x4000n },
            { base: 14n * G, size: PAGE },
          ],
        }),
        tdmr(2n),
      ],
      'NON_ORDERED_TDMR',
      '1',
    ],
    ['base not on a GiB', [tdmr(1n, { base: G + PAGE })], 'INVALID_TDMR', '0'],
    ['size 0', [tdmr(1n, { size: 0n })], 'INVALID_TDMR', '0'],
    [
      'beyond the address width',
      [tdmr(1n, { base: 1n << 46n })],
      'INVALID_TDMR',
      '0',
    ],
    [
      'an entry after the end of the list',
      [tdmr(1n, { reserved: areas([0n, 0n], [PAGE, PAGE]) })],
      'NON_ORDERED_RESERVED_IN_TDMR',
      '0',
    ],
    [
      'area overflows',
      [tdmr(1n, { reserved: areas([(1n << 64n) - PAGE, 2n * PAGE]) })],
      'INVALID_RESERVED_IN_TDMR',
      '0',
    ],
    [
      'area below the one before',
      [tdmr(1n, { reserved: areas([PAGE, PAGE], [0n, PAGE]) })],
      'NON_ORDERED_RESERVED_IN_TDMR',
      '100',
    ],
    [
      'area overlaps the one before',
      [tdmr(1n, { reserved: areas([0n, 2n * PAGE], [PAGE, PAGE]) })],
      'NON_ORDERED_RESERVED_IN_TDMR',
      '100',
    ],
    [
      'area not on a page',
      [tdmr(1n, { reserved: areas([1n, PAGE]) })],
      'INVALID_RESERVED_IN_TDMR',
      '0',
    ],
    [
      'area beyond the TDMR',
      [tdmr(1n, { reserved: areas([G - PAGE, 2n * PAGE]) })],
      'INVALID_RESERVED_IN_TDMR',
      '0',
    ],
    [
      '1G PAMT not on a page',
      [
        tdmr(1n, {
          pamt: [
            ...pamts(12n * G).slice(0, 2),
            { base: 12n * G + 1n, size: PAGE },
          ] as unknown as TdmrInfo['pamt'],
        }),
      ],
      'INVALID_PAMT',
      '200',
    ],
    [
      '4K PAMT too small',
      [
        tdmr(1n, {
          pamt: [
            { base: 12n * G, size: PAGE },
            ...pamts(12n * G).slice(1),
          ] as unknown as TdmrInfo['pamt'],
        }),
      ],
      'INVALID_PAMT',
      '0',
    ],
    [
      'same PAMTs twice',
      [tdmr(1n, { pamt: pamts(12n * G) }), tdmr(2n, { pamt: pamts(12n * G) })],
      'PAMT_OVERLAP',
      '1',
    ],
    [
      'own 4K over own 2M',
      [
        tdmr(1n, {
          pamt: [
            { base: 12n * G, size: 0x400000n },
            { base: 12n * G, size: 0x2000n },
            { base: 13n * G, size: PAGE },
          ],
        }),
      ],
      'PAMT_OVERLAP',
      '0',
    ],
    [
      'own 2M over own 1G',
      [
        tdmr(1n, {
          pamt: [
            { base: 12n * G, size: 0x400000n },
            { base: 13n * G, size: 0x2000n },
            { base: 13n * G, size: PAGE },
          ],
        }),
      ],
      'PAMT_OVERLAP',
      '100',
    ],
    [
      'PAMT in usable memory of its TDMR',
      [tdmr(1n, { pamt: pamts(G) })],
      'PAMT_OVERLAP',
      '0',
    ],
    [
      'PAMT in usable memory of an earlier TDMR',
      [tdmr(1n), tdmr(2n, { pamt: pamts(G) })],
      'PAMT_OVERLAP',
      '1',
    ],
    [
      'earlier PAMT in usable memory of this one',
      [tdmr(1n, { pamt: pamts(2n * G) }), tdmr(2n)],
      'PAMT_OVERLAP',
      '10000',
    ],
    [
      'PAMT outside of CMRs',
      [tdmr(1n, { pamt: pamts(17n * G) })],
      'PAMT_OUTSIDE_CMRS',
      '200',
    ],
    ['memory below 1 MiB', [tdmr(0n)], 'TDMR_OUTSIDE_CMRS', '0'],
    ['memory above all CMRs', [tdmr(1n), tdmr(20n)], 'TDMR_OUTSIDE_CMRS', '1'],
  ]
  for (const [name, tdmrs, status, details] of table)
    t.equal(check(...tdmrs), `${status} ${details}`, name)
})

t.test('a hole of the CMRs inside a TDMR must be reserved', async t => {
  const cmrs = [
    { start: GIB, end: GIB + 512 * MIB },
    { start: GIB + 513 * MIB, end: 16 * GIB },
  ]
  const hole: [bigint, bigint] = [512n * BigInt(MIB), BigInt(MIB)]
  t.equal(
    checkTdmrs([tdmr(1n)], { ...limits, cmrs }),
    statusWithBytes('TDMR_OUTSIDE_CMRS', 0),
  )
  t.equal(
    checkTdmrs([tdmr(1n, { reserved: areas(hole) })], { ...limits, cmrs }),
    undefined,
  )
})
