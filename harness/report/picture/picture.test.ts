import fc from 'fast-check'
import colors from 'picocolors'
import { h } from 'preact'
import { render } from 'preact-render-to-string'
import t from 'tap'
import { GIB, KIB, MIB, PHYSICAL_LIMIT, TIB } from '../../base/units.ts'
import { caseDocument } from '../document.ts'
import { judgedOutcome } from '../../testing/judged.ts'
import { namedCase } from '../../testing/records.ts'
import { holds } from '../../testing/property.ts'
import { bars } from './bars.ts'
import { drawnCase } from './drawn.ts'
import { placeLabels } from './labels.ts'
import { MemoryMap } from './memory-map.tsx'
import { type Mark, differencesOf, pictureOf } from './picture.ts'
import { type Drawn, parameterMarks, parametersAt, rowsOf } from './rows.ts'
import { makeScale } from './scale.ts'

const plain = colors.createColors(false)

const borders = fc.uniqueArray(fc.integer({ min: 0, max: PHYSICAL_LIMIT }), {
  minLength: 2,
  maxLength: 60,
})

const marks = (names: readonly string[]): fc.Arbitrary<Mark[]> =>
  fc
    .uniqueArray(fc.integer({ min: 0, max: 40 }), { maxLength: 16 })
    .chain(points =>
      fc
        .array(fc.constantFrom(...names), {
          minLength: points.length,
          maxLength: points.length,
        })
        .map(kinds => {
          const sorted = points.sort((a, b) => a - b)
          return sorted.slice(0, -1).flatMap((start, i): Mark[] =>
            kinds[i] === ''
              ? []
              : [
                  {
                    start,
                    end: sorted[i + 1]!,
                    kind: 'node',
                    name: kinds[i]!,
                    number: Number(kinds[i]!.slice(5)),
                  },
                ],
          )
        }),
    )
const nodes = marks(['node 0', 'node 1', ''])

t.test('a scale has room for every piece, in order, and no gap', async t => {
  holds(
    t,
    'segments follow each other and fill the width',
    fc.property(
      borders,
      fc.integer({ min: 20, max: 2000 }),
      fc.constantFrom(0, 1, 3),
      (points, width, least) => {
        const scale = makeScale(points, { width, least, most: 0.3 })
        const { segments } = scale
        let at = 0
        for (const segment of segments) {
          if (Math.abs(segment.at - at) > 1e-6) return false
          if (segment.width < least - 1e-9) return false
          if (Math.abs(scale.at(segment.start) - at) > 1e-6) return false
          at += segment.width
        }
        const room = Math.max(width, least * segments.length)
        return Math.abs(at - room) < 0.01 * room && scale.width === at
      },
    ),
  )
  const huge = makeScale([0, 2 * TIB, 2 * TIB + 4 * KIB, 4 * TIB], {
    width: 800,
    least: 3,
    most: 0.3,
  })
  t.same(
    huge.segments.map(({ enlarged }) => enlarged),
    [false, true, false],
    'a page in 4 TiB is seen',
  )
  const folded = makeScale([0, GIB, 2 * GIB, 3 * GIB, 4 * TIB, 5 * TIB], {
    width: 800,
    least: 3,
    most: 0.3,
  })
  t.same(
    folded.segments.map(({ folded }) => folded),
    [false, false, false, true, true],
    'gigabytes beside terabytes get room',
  )
  t.ok(folded.segments[0]!.width > 50)
  t.equal(makeScale([5], { width: 10, least: 1, most: 1 }).segments.length, 0)
})

t.test('differences are where one looks at every address', async t => {
  const at = (list: readonly Mark[], address: number): string =>
    list.find(({ start, end }) => start <= address && address < end)?.name ?? ''
  holds(
    t,
    'pointwise',
    fc.property(nodes, nodes, (one, other) => {
      const found = differencesOf(one, other)
      for (let address = 0; address <= 40; address++) {
        const inside = found.some(
          ({ start, end }) => start <= address && address < end,
        )
        if (inside !== (at(one, address) !== at(other, address))) return false
      }
      return differencesOf(one, one).length === 0
    }),
  )
  const node = (start: number, end: number): Mark => ({
    start,
    end,
    kind: 'node',
    name: 'node 0',
  })
  t.same(
    differencesOf([node(0, 4)], [node(0, 2), node(2, 4)]),
    [{ start: 2, end: 2, kind: 'border' }],
    'one range or two: the border is the difference',
  )
})

t.test('labels lie beside each other, on the line', async t => {
  holds(
    t,
    'no overlap',
    fc.property(
      fc.array(
        fc.record({
          text: fc.constant('x'),
          kind: fc.constant('tick'),
          anchor: fc.integer({ min: 0, max: 500 }),
          length: fc.integer({ min: 1, max: 600 }),
          weight: fc.integer({ min: 0, max: 3 }),
        }),
        { maxLength: 30 },
      ),
      labels => {
        const placed = placeLabels(labels, { width: 500, rows: 3 })
        return placed.every(
          (one, i) =>
            one.at >= 0 &&
            one.at + one.length <= 500 &&
            one.row < 3 &&
            placed.every(
              (other, j) =>
                i === j ||
                one.row !== other.row ||
                one.at + one.length < other.at ||
                other.at + other.length < one.at,
            ),
        )
      },
    ),
  )
})

const drawn = (over: Partial<Drawn> = {}): Drawn => ({
  cmdline: '',
  firmwareMap: {
    predicted: [
      { start: 0, end: 640 * KIB, type: 'usable' },
      { start: 640 * KIB, end: MIB, type: 'reserved' },
      { start: MIB, end: 4 * TIB, type: 'usable' },
    ],
    built: null,
  },
  userMap: { predicted: null, built: null },
  memblock: { predicted: [{ start: MIB, end: 4 * TIB, node: 0 }], built: null },
  regions: { predicted: null, built: null },
  expectedRegions: null,
  tdmrs: { predicted: null, built: null },
  cmrs: { predicted: null, built: null },
  ...over,
})

t.test('no line of a picture is longer than the screen', async t => {
  holds(
    t,
    'any width',
    fc.property(
      nodes,
      nodes,
      fc.integer({ min: 1, max: 130 }),
      fc.boolean(),
      (predicted, built, columns, ascii) => {
        const picture = pictureOf([{ title: 'memblock', predicted, built }])
        const lines = bars(picture, { columns, ascii, colors: plain })
        return lines.every(
          line =>
            line.length <= Math.max(4, columns) &&
            (!ascii || /^[\x20-\x7e]*$/.test(line)),
        )
      },
    ),
  )
  const many = Array.from({ length: 500 }, (_, i) => ({
    start: 2 * i * MIB,
    end: (2 * i + 1) * MIB,
    type: 'usable',
  }))
  const lines = bars(
    pictureOf(rowsOf(drawn({ firmwareMap: { predicted: many, built: null } }))),
    { columns: 80, ascii: false, colors: plain },
  )
  t.ok(lines.length < 60, 'a long map is drawn in parts')
  t.match(lines.at(-1), /^\d+ more parts are not drawn$/)
})

t.test('a hole of a page in 4 TiB is seen, and labelled', async t => {
  const hole = { start: 2 * TIB, end: 2 * TIB + 4 * KIB }
  const memory = [
    { start: MIB, end: hole.start, node: 0 },
    { start: hole.end, end: 4 * TIB, node: 0 },
  ]
  const tdmr = { start: 0, end: 4 * TIB, reserved: [hole], pamts: [] }
  const picture = pictureOf(
    rowsOf(
      drawn({
        cmdline: 'memmap=4K$0x20000000000',
        regions: { predicted: memory, built: memory },
        tdmrs: { predicted: [tdmr], built: null },
      }),
    ),
  )
  t.matchStrict(
    bars(picture, { columns: 60, ascii: true, colors: plain }).join('\n'),
    /TDX regions +\.*0+\.0+\n/,
    'built and predicted agree: one lane',
  )
  const svg = render(h(MemoryMap, { picture, title: 'x' }))
  t.match(svg, />4K hole</)
  t.match(svg, />4K memmap=4K\$0x20000000000</)
  t.match(svg, /<title>TDX regions, built: \[0x100000, 0x20000000000\) node 0/)
})

t.test('parameters are drawn where they point', async t => {
  t.same(
    parameterMarks('memmap=1M$2G,2M#1M memmap=exactmap mem=3G -- memmap=1M@0'),
    [
      {
        start: 2 * GIB,
        end: 2 * GIB + MIB,
        kind: 'parameter',
        name: 'memmap=1M$2G',
      },
      { start: MIB, end: 3 * MIB, kind: 'parameter', name: 'memmap=2M#1M' },
      {
        start: 3 * GIB,
        end: PHYSICAL_LIMIT,
        kind: 'parameter',
        name: 'mem=3G',
      },
    ],
  )
  t.same(parametersAt('memmap=1M$2G memmap=1M$1G', { start: GIB, end: GIB }), [
    'memmap=1M$1G',
  ])
})

t.test('a kernel that builds other regions is seen to', async t => {
  const item = namedCase({
    machine: { memory: '4G' },
    cmdline: { memmap: ['64M$0x140000000'] },
  })
  const outcome = judgedOutcome(item, {
    change: ({ regions }) => ({
      regions: (regions ?? []).map((range, i) =>
        i === 0 ? { ...range, end: range.end - 4 * KIB } : range,
      ),
    }),
  })
  const result = caseDocument(outcome, () => '')
  const text = bars(pictureOf(rowsOf(drawnCase(result))), {
    columns: 80,
    ascii: true,
    colors: plain,
    differing: true,
  }).join('\n')
  t.match(text, /TDX regions, predicted +0/)
  t.match(text, /TDX regions, built +0/)
  t.match(text, /differs +\^/)
  t.match(text, /\[0x7ffdf000, 0x7ffe0000\), 4K, not built/)
  t.notMatch(text, /memblock|CMRs/, 'what agrees is left out')
})

t.test('hostile names become neither markup nor control', async t => {
  const picture = pictureOf(
    rowsOf(
      drawn({
        firmwareMap: {
          predicted: [
            {
              start: 0,
              end: MIB,
              type: '"><script>alert(1)</script>\u001b[2J',
            },
          ],
          built: null,
        },
      }),
    ),
  )
  const svg = render(h(MemoryMap, { picture, title: '"><script>' }))
  t.notMatch(svg, /<script/)
  // eslint-disable-next-line no-control-regex -- it is what is looked for
  t.notMatch(svg, /\u001b/)
})
