import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { extract } from 'tar'
import { readFileSync, readdirSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { DEFAULT_BOARD } from '../board/index.ts'
import type { PreparedKernel } from '../run/kernels.ts'
import type { CellInput } from '../scenario/schema.ts'
import { MAINLINE_6_8 } from '../tdx/series/mainline-6.8.ts'
import { KERNEL } from '../testing/judged.ts'
import { type PlantedBug, withBug } from '../testing/planted-bugs.ts'
import type * as Ways from '../testing/scenario-ways.ts'

/**
 * Whoever adds a key to scenarios must not have to look for the places that
 * copy one: here are keys that no code has heard of, at the top and inside.
 */
const NEW_KEYS: readonly (PlantedBug & { readonly at: readonly string[] })[] = [
  {
    what: 'a key of the scenario',
    at: ['note'],
    file: 'scenario/schema.ts',
    line: '  steps: stepsSchema,\n',
    bug: '  steps: stepsSchema,\n  note: z.string().optional(),\n',
  },
  {
    what: 'a key of the machine',
    at: ['machine', 'note'],
    file: 'scenario/schema.ts',
    line: '    cpus: z.int().min(1).max(MAX_CPUS).default(2),\n',
    bug: '    cpus: z.int().min(1).max(MAX_CPUS).default(2),\n    note: z.string().optional(),\n',
  },
  {
    what: 'a key of the command line',
    at: ['cmdline', 'note'],
    file: 'scenario/parameters.ts',
    line: '  mem: z',
    bug: '  note: z.string().optional(),\n  mem: z',
  },
]

const NOTE = 'a key from next year'

const withNote = (input: CellInput, at: readonly string[]): CellInput => {
  const [part, key] = at
  if (key === undefined) return { ...input, [part!]: NOTE }
  const values = input as unknown as Record<string, object>
  return { ...input, [part!]: { ...values[part!], [key]: NOTE } }
}

const noteIn = (input: unknown, at: readonly string[]): unknown =>
  at.reduce<unknown>(
    (value, key) => (value as Record<string, unknown> | undefined)?.[key],
    input,
  )

/** A scenario of which much can go. */
const INPUT: CellInput = {
  name: 'n',
  why: 'w',
  machine: {
    cpus: 4,
    firmware: {
      e820: [
        { start: 0, end: 0x9f000, type: 'usable' },
        ...Array.from({ length: 20 }, (_, i) => ({
          start: 0x40000000 + i * 0x200000,
          end: 0x40100000 + i * 0x200000,
          type: 'usable',
        })),
        { start: 0x100000000, end: 0x140000000, type: 'usable' },
        { start: 0x100000, end: 0x40000000, type: 'usable' },
      ],
    },
  },
  cmdline: { memmap: ['4K$0x130000000'], append: ['nosmt', 'numa=off'] },
  expect: { tdx: 'failed', stage: 'reserved-areas', errno: -28 },
}

for (const planted of NEW_KEYS)
  t.test(planted.what, async t => {
    const ways = await withBug<typeof Ways>(
      t,
      'testing/scenario-ways.ts',
      planted,
    )
    const { at } = planted
    const input = withNote(INPUT, at)
    const has = (found: unknown, what: string): void => {
      t.equal(noteIn(found, at), NOTE, what)
    }

    has(parse(ways.scenarioFile(input)), 'a scenario file')
    t.match(JSON.stringify(ways.scenarioJsonSchema()), '"note"')
    const folder = t.testdir({ cases: {}, work: {}, bundles: {}, out: {} })
    writeFileSync(join(folder, 'cases', 's.yaml'), ways.scenarioFile(input))
    const [item] = await ways.loadCases([join(folder, 'cases')], {
      kernels: ['kernel'],
      onlyKernels: undefined,
      board: DEFAULT_BOARD,
    })
    has(item!.input, 'a case that was loaded')

    const subject = { board: DEFAULT_BOARD, kernel: { series: MAINLINE_6_8 } }
    const start = ways.reducible(input)
    has(start, 'what can be made smaller')
    for (const smaller of ways.reductions(start)) has(smaller, 'a reduction')
    const target = ways.endingByModel(start, subject)!
    t.match(target, { outcome: 'failed', stage: 'reserved-areas' })
    has(
      await ways.minimiseOnModel({
        input: start,
        target,
        subject,
        signal: new AbortController().signal,
      }),
      'what was minimised',
    )

    const outcome = ways.judgedOutcome(item!)
    has(
      parse(
        ways.foundScenario(1, {
          number: 1,
          kernel: 'kernel',
          found: input,
          smallest: input,
          outcome,
          console: new Uint8Array(),
          signature: '',
          again: 0,
        }),
      ),
      'what fuzzing found',
    )
    has(
      parse(
        ways.violatingScenario(1, {
          number: 1,
          smallest: input,
          violations: ['v'],
        }),
      ),
      'what breaks an invariant',
    )

    const console = join(folder, 'console.log')
    writeFileSync(console, 'Linux version 6.12\n')
    const archive = await ways.writeBundle(
      {
        outcome: withConsole(outcome, console),
        kernel: {
          ...KERNEL,
          name: 'kernel',
          key: 'abc',
          built: { config: undefined },
        } as unknown as PreparedKernel,
      },
      {
        folder: join(folder, 'bundles'),
        work: join(folder, 'work'),
        head: {
          rig: { version: '1', machine: 'm', board: DEFAULT_BOARD.id },
          started: new Date(0).toISOString(),
          kernels: [],
          cases: 1,
        },
        reproduce: () => 'again',
      },
    )
    has((await ways.rejudge(archive)).item.input, 'a bundle judged again')
    const out = join(folder, 'out')
    mkdirSync(out, { recursive: true })
    await extract({ file: archive, cwd: out })
    const [bundle] = readdirSync(out)
    has(
      parse(readFileSync(join(out, bundle!, 'scenario.yaml'), 'utf8')),
      'the scenario in a bundle',
    )
  })

const withConsole = (
  outcome: ReturnType<typeof Ways.judgedOutcome>,
  path: string,
): ReturnType<typeof Ways.judgedOutcome> => {
  const { record } = outcome.evidence
  const console = { path, timesPath: null, lossy: false }
  const witnesses = { ...record.witnesses, console }
  const evidence = { ...outcome.evidence, record: { ...record, witnesses } }
  return { ...outcome, evidence }
}
