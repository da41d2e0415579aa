import t from 'tap'
import { parse } from 'yaml'
import { MIB } from '../base/units.ts'
import { DEFAULT_BOARD } from '../board/index.ts'
import { layoutOn } from '../judge/prediction.ts'
import type { Layout } from '../memory/predict.ts'
import { MEMORY_RULES } from '../memory/rules.ts'
import { type CellInput, cellSchema } from '../scenario/schema.ts'
import { foundScenario, violatingScenario } from './found.ts'
import { messagesOf } from '../judge/case-outcome.ts'
import { NODES, judgedOutcome } from '../testing/judged.ts'
import { bodyOf, namedCase } from '../testing/records.ts'
import type { Disagreement } from './campaign.ts'
import { randomScenario } from './generate.ts'
import { violations } from './invariants.ts'
import { KNOWN_ISSUES, explanation } from './known-issues.ts'
import { checkModel } from './model-only.ts'
import { Random } from './random.ts'
import { fuzzText, modelText } from './text.ts'
import { MAINLINE_6_8 } from '../tdx/series/mainline-6.8.ts'
import { V6 } from '../tdx/series/v6.ts'

const RULES = MEMORY_RULES['6.12']
const FOREVER = new AbortController().signal

const layout = (seed: number, number: number): CellInput =>
  randomScenario({ seed, number, board: DEFAULT_BOARD }).input

t.test('a seed makes the same layouts, another seed makes others', async t => {
  const made = (seed: number) =>
    [0, 1, 2, 3].map(number => layout(seed, number))
  t.same(made(7), made(7))
  t.notSame(made(7), made(8))
  const twice = layout(7, 2)
  t.same(twice, made(7)[2], 'whatever was made before')
})

t.test('numbers stay within their bounds, and reach them', async t => {
  const random = new Random(1, 1)
  const seen = new Set(random.times(200, () => random.int(3, 6)))
  t.same([...seen].sort(), [3, 4, 5, 6])
  t.same(random.shuffle([1, 2, 3, 4]).sort(), [1, 2, 3, 4])
})

t.test('layouts of every kind come up', async t => {
  const inputs = Array.from({ length: 400 }, (_, number) => layout(5, number))
  const kinds: [string, (input: (typeof inputs)[number]) => unknown][] = [
    ['nodes', ({ machine }) => machine.nodes],
    ['a map', ({ machine }) => machine.firmware?.e820],
    ['a SRAT', ({ machine }) => machine.firmware?.srat],
    [
      'more than 128 entries',
      ({ machine }) => (machine.firmware?.e820?.length ?? 0) > 128,
    ],
    ['mem=', ({ cmdline }) => cmdline?.mem],
    ...['$', '#', '!', '@', '%', 'exactmap'].map(
      (
        sign,
      ): [string, (input: (typeof inputs)[number]) => boolean | undefined] => [
        sign,
        ({ cmdline }) => cmdline?.memmap?.some(value => value.includes(sign)),
      ],
    ),
    [
      'numa=fake=',
      ({ cmdline }) => cmdline?.append?.some(w => w.startsWith('numa=fake=')),
    ],
  ]
  for (const [kind, is] of kinds) t.ok(inputs.some(is), kind)
  const open = inputs.filter(input => {
    return (
      layoutOn(bodyOf(input), { rules: RULES, kernelImage: undefined })
        .tdmrFailures.length > 0
    )
  })
  t.ok(open.length > 5, 'and layouts at the limit of reserved areas')
})

t.test('the model keeps its invariants', async t => {
  const report = await checkModel({
    seed: 11,
    count: 3000,
    until: Infinity,
    board: DEFAULT_BOARD,
    signal: FOREVER,
  })
  t.same(report, { layouts: 3000, found: [] })
  t.match(
    modelText({ seed: 11, report, files: [], ms: 1000 }),
    /3000 random layouts .*all invariants/,
  )
})

t.test('each invariant can be broken', async t => {
  const body = bodyOf({
    name: 'n',
    why: 'w',
    machine: { nodes: [{ memory: '2G' }, { memory: '2G' }] },
    cmdline: { memmap: ['64M$5G'] },
  })
  const image = { start: 16 * MIB, end: 40 * MIB }
  const layout = layoutOn(body, { rules: RULES, kernelImage: image })
  t.same(violations(body, layout, { image, rules: RULES }), [])
  const [first, second, ...rest] = layout.regions
  const broken: [Partial<Layout>, RegExp][] = [
    [
      { regions: [{ ...first!, start: 4096 }, second!, ...rest] },
      /begins below 1 MiB/,
    ],
    [
      { regions: [{ ...first!, end: first!.end + 1 }, second!, ...rest] },
      /not whole pages/,
    ],
    [{ regions: [second!, first!, ...rest] }, /begins before the end/],
    [{ regions: [{ ...first!, node: 1 }, second!, ...rest] }, /of its node/],
    [{ regions: rest }, /the regions cover/],
    [
      { regions: [{ ...first!, end: first!.start }, second!, ...rest] },
      /empty/,
    ],
    [{ memblock: layout.memblock.slice(0, -1) }, /is RAM, and not in memory/],
    [
      { memblock: layout.memblock.map(part => ({ ...part, node: 0 })) },
      /is on node 0, expected 1/,
    ],
    [{ tdmrs: layout.tdmrs.slice(1) }, /in no TDMR/],
    [
      { tdmrs: layout.tdmrs.map(tdmr => ({ ...tdmr, holes: [] })) },
      /not its regions and its holes/,
    ],
    [
      {
        tdmrs: layout.tdmrs.map(tdmr => ({ ...tdmr, start: tdmr.start + MIB })),
      },
      /not whole GiB/,
    ],
  ]
  for (const [change, message] of broken)
    t.match(
      violations(body, { ...layout, ...change }, { image, rules: RULES }).join(
        '\n',
      ),
      message,
      String(message),
    )
})

t.test('known issues explain all of a boot, or nothing', async t => {
  const body = bodyOf({
    name: 'n',
    why: 'w',
    machine: { memory: '2G' },
    cmdline: { append: ['numa=fake=4'] },
  })
  const layout = layoutOn(body, { rules: RULES, kernelImage: undefined })
  const reason = (message: string) => ({
    kind: 'fail' as const,
    check: 'incident',
    message,
  })
  const names = (messages: string[], words: readonly string[] = body.words) =>
    explanation({ reasons: messages.map(reason) }, V6, { words, layout }).map(
      ({ name }) => name,
    )
  const workqueue =
    'the kernel reports a warning (console line 9): WARNING: workqueue cpumask: online intersect > possible intersect'
  t.same(names([workqueue]), ['CPUs on nodes that are not the fake ones'])
  t.same(
    names([workqueue, 'a region differs']),
    [],
    'the rest is not explained',
  )
  t.same(names([workqueue], []), [], 'it cannot happen without numa=fake=')
  const dead = 'BUG: kernel NULL pointer dereference, address: 0000000000000001'
  const issuesOf = (fatal: Layout['fatal'], ...more: object[]) =>
    explanation(
      { reasons: [reason(dead), { ...reason('x'), ...more[0] }] },
      MAINLINE_6_8,
      { words: body.words, layout: { ...layout, fatal } },
    ).map(({ name }) => name)
  const fakes = { of: 'distances', why: 'y' } as const
  t.same(issuesOf(undefined), [], 'the model sees no reason to panic')
  t.same(issuesOf(fakes), ['a real node without a fake one'])
  t.same(
    issuesOf({ ...fakes, of: 'trampoline' }),
    [],
    'it panicked for another reason',
  )
  t.same(
    issuesOf(fakes, { check: 'tdmrs' }),
    [],
    'a kernel that panicked gives no TDMRs',
  )
  t.ok(KNOWN_ISSUES.every(({ why }) => why.includes('()')))
})

t.test('what was found can be run again', async t => {
  const parsed = cellSchema.parse(
    parse(foundScenario(1, disagreement({ number: 1, again: 2 }))),
  )
  t.same(parsed.kernels, ['kernel'])
  t.match(parsed.why, /fuzz --seed 1 as number 1: .*4 expected, 3 found/)
  t.match(
    violatingScenario(2, {
      number: 3,
      smallest: layout(1, 1),
      violations: ['v'],
    }),
    /--seed 2 as number 3: v/,
  )
})

t.test('what a campaign prints', async t => {
  const found = disagreement({ number: 1, again: 2 })
  const [issue, other] = KNOWN_ISSUES
  const report = {
    booted: 11,
    agreed: 5,
    weak: 1,
    errors: [
      {
        kind: 'error' as const,
        message: 'QEMU is gone',
        item: namedCase({}, 'fuzz/9@kernel'),
        kernel: found.outcome.kernel,
        prediction: found.outcome.prediction,
      },
    ],
    disagreements: [found],
    // A boot that two issues explain is one boot.
    known: new Map([
      [issue!, [7, 3]],
      [other!, [7]],
    ]),
  }
  const files = new Map([[found, 'a.yaml']])
  t.same(fuzzText({ seed: 1, report, files, ms: 5000 }).split('\n'), [
    'DISAGREE number 1 on kernel, and 2 boots like it: a.yaml',
    ...messagesOf(found.outcome).map(text => `    ${text}`),
    'ERROR fuzz/9@kernel: QEMU is gone',
    `known (numbers 3, 7): ${issue!.name}: ${issue!.why}`,
    `known (number 7): ${other!.name}: ${other!.why}`,
    '11 boots of random layouts in 5.0 s: 5 agree with the model (1 where it leaves something open), 2 explained by known issues, 3 disagree, 1 error (seed 1)',
    '',
  ])
  const { booted, agreed, known, errors } = report
  t.equal(
    agreed + new Set([...known.values()].flat()).size + 3 + errors.length,
    booted,
    'the figures add up',
  )
})

/** A boot that lost a region. */
const disagreement = (
  numbers: Pick<Disagreement, 'number' | 'again'>,
): Disagreement => ({
  ...numbers,
  kernel: 'kernel',
  found: layout(1, 1),
  smallest: layout(1, 1),
  outcome: judgedOutcome(namedCase(NODES), {
    change: ({ regions }) => ({ regions: regions!.slice(1) }),
  }),
  console: new Uint8Array(),
  signature: '',
})
