import t from 'tap'
import { parse } from 'yaml'
import { MIB } from '../base/units.ts'
import { layoutOn } from '../judge/prediction.ts'
import type { Layout } from '../memory/predict.ts'
import { MEMORY_RULES } from '../memory/rules.ts'
import { cellSchema } from '../scenario/schema.ts'
import { foundScenario, violatingScenario } from './found.ts'
import { scenarioOf } from '../reproduce/bootable.ts'
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

t.test('a seed makes the same layouts, another seed makes others', async t => {
  const made = (seed: number) =>
    [0, 1, 2, 3].map(number => randomScenario(seed, number).input)
  t.same(made(7), made(7))
  t.notSame(made(7), made(8))
  const twice = randomScenario(7, 2)
  t.same(twice.input, made(7)[2], 'whatever was made before')
})

t.test('numbers stay within their bounds, and reach them', async t => {
  const random = new Random(1, 1)
  const seen = new Set(random.times(200, () => random.int(3, 6)))
  t.same([...seen].sort(), [3, 4, 5, 6])
  t.same(random.shuffle([1, 2, 3, 4]).sort(), [1, 2, 3, 4])
})

t.test('layouts of every kind come up', async t => {
  const inputs = Array.from(
    { length: 400 },
    (_, number) => randomScenario(5, number).input,
  )
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
    const { body } = scenarioOf(input)!
    return layoutOn(body, RULES, undefined).tdmrFailures.length > 0
  })
  t.ok(open.length > 5, 'and layouts at the limit of reserved areas')
})

t.test('the model keeps its invariants', async t => {
  const report = await checkModel(11, 3000, Infinity, FOREVER)
  t.same(report, { layouts: 3000, found: [] })
  t.match(
    modelText(11, report, [], 1000),
    /3000 random layouts .*all invariants/,
  )
})

t.test('each invariant can be broken', async t => {
  const { body } = scenarioOf({
    name: 'n',
    why: 'w',
    machine: { nodes: [{ memory: '2G' }, { memory: '2G' }] },
    cmdline: { memmap: ['64M$5G'] },
  })!
  const image = { start: 16 * MIB, end: 40 * MIB }
  const layout = layoutOn(body, RULES, image)
  t.same(violations(body, layout, image), [])
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
      violations(body, { ...layout, ...change }, image).join('\n'),
      message,
      String(message),
    )
})

t.test('known issues explain all of a boot, or nothing', async t => {
  const { body } = scenarioOf({
    name: 'n',
    why: 'w',
    machine: { memory: '2G' },
    cmdline: { append: ['numa=fake=4'] },
  })!
  const layout = layoutOn(body, RULES, undefined)
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
  const died = (fatal: Layout['fatal'], ...more: object[]) =>
    explanation(
      { reasons: [reason(dead), { ...reason('x'), ...more[0] }] },
      MAINLINE_6_8,
      { words: body.words, layout: { ...layout, fatal } },
    ).map(({ name }) => name)
  const fakes = { of: 'distances', why: 'y' } as const
  t.same(died(undefined), [], 'the model sees no reason to die')
  t.same(died(fakes), ['a real node without a fake one'])
  t.same(died({ ...fakes, of: 'trampoline' }), [], 'it died of something else')
  t.same(died(fakes, { check: 'tdmrs' }), [], 'the dead give no TDMRs')
  t.ok(KNOWN_ISSUES.every(({ why }) => why.includes('()')))
})

t.test('what was found can be run again', async t => {
  const { input } = randomScenario(1, 1)
  const result = {
    id: 'fuzz/1@k',
    kernel: 'k',
    verdict: 'fail',
    reasons: [{ kind: 'fail', check: 'regions-memory', message: 'region 0' }],
  }
  const disagreement = {
    number: 1,
    kernel: 'k',
    found: input,
    smallest: input,
    again: 2,
    result: result as never,
    console: new Uint8Array(),
    signature: '',
  }
  const text = foundScenario(1, disagreement)
  const parsed = cellSchema.parse(parse(text))
  t.same(parsed.kernels, ['k'])
  t.match(parsed.why, /fuzz --seed 1 as number 1: region 0/)
  t.match(
    violatingScenario(2, { number: 3, smallest: input, violations: ['v'] }),
    /--seed 2 as number 3: v/,
  )
  const report = {
    booted: 9,
    agreed: 5,
    weak: 1,
    errors: [],
    disagreements: [disagreement],
    known: new Map([[KNOWN_ISSUES[0]!, [7, 3]]]),
  }
  const printed = fuzzText(1, report, new Map([[disagreement, 'a.yaml']]), 5000)
  t.match(printed, /known \(numbers 3, 7\): memory without a node/)
  t.match(printed, /DISAGREE number 1 on k, and 2 boots like it: a.yaml/)
  t.match(
    printed,
    /5 agree with the model \(1 where it .*\), 1 explained .* 3 disagree/,
  )
})
