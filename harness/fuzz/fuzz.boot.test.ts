import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { DEFAULT_BOARD } from '../board/index.ts'
import { messagesOf } from '../judge/case-outcome.ts'
import type * as Model from '../judge/prediction.ts'
import { Workspace } from '../run/workspace.ts'
import { runCli, shortFolder } from '../testing/cli.ts'
import { BUGS, withBug } from '../testing/planted-bugs.ts'
import { realKernels, realMachine } from '../testing/real-boots.ts'
import { type CampaignReport, runCampaign } from './campaign.ts'

const MOST_BOOTS = 50

t.test('a bug in the model is found within 50 boots', async t => {
  await using workspace = Workspace.create()
  const { signal } = new AbortController()
  const kernels = await realKernels(['upstream-6.12', 'v6-6.1'], workspace)
  const machine = await realMachine()
  const campaign = (
    count: number,
    predict?: typeof Model.predictCase,
  ): Promise<CampaignReport> =>
    runCampaign({
      seed: 4,
      count,
      until: Infinity,
      jobs: 2,
      enough: 1,
      shrinkBudget: 24,
      machine,
      board: DEFAULT_BOARD,
      kernels,
      workspace,
      signal,
      onBoot: () => undefined,
      onFound: () => Promise.resolve(),
      ...(predict && { predict }),
    })
  let smaller = 0
  for (const planted of BUGS) {
    await t.test(planted.what, async t => {
      const { predictCase } = await withBug<typeof Model>(
        t,
        'judge/prediction.ts',
        planted,
      )
      const { booted, disagreements } = await campaign(MOST_BOOTS, predictCase)
      const [found] = disagreements
      t.ok(found, `found in ${booted} boots`)
      t.match(found && messagesOf(found.outcome)[0], /differs|pages|region/)
      const [before, after] = [found?.found, found?.smallest].map(
        input => JSON.stringify(input).length,
      )
      t.ok(after! <= before!, `${before} characters became ${after}`)
      if (after! < before!) smaller++
      t.match(Buffer.from(found!.console).toString(), /Linux version/)
    })
  }
  // A layout may be as small as it gets already, but not every one.
  t.ok(smaller >= BUGS.length / 2, `${smaller} were made smaller`)
  const { agreed, known, disagreements } = await campaign(MOST_BOOTS)
  t.same(disagreements, [], 'and the model as it is agrees')
  t.ok(
    agreed + [...known.values()].flat().length >= MOST_BOOTS,
    `${agreed} of ${MOST_BOOTS} agree, the others are known issues`,
  )
})

t.test('tdxrig fuzz', async t => {
  const folder = shortFolder(t)
  const run = (...args: string[]) => runCli(['fuzz', ...args], { cwd: folder })
  const boots = await run(
    '--seed',
    '9',
    '--count',
    '6',
    '--accel',
    'tcg',
    '--kernel',
    'upstream-6.12',
  )
  t.equal(boots.code, 0, boots.stderr)
  t.match(
    boots.stdout,
    /6 boots of random layouts in .* 0 disagree.*\(seed 9\)/,
  )
  const model = await run('--model-only', '--count', '300', '--seed', '1')
  t.equal(model.code, 0)
  t.match(model.stdout, /300 random layouts .* all invariants hold \(seed 1\)/)
  t.same(readdirSync(folder), [], 'nothing found, nothing written')
  mkdirSync(join(folder, 'mine'))
  await run('--model-only', '--count', '1', '--out', 'mine')
  await run('--model-only', '--count', '1', '--out', 'mine/a/b')
  t.same(
    readdirSync(folder, { recursive: true }),
    ['mine'],
    'what was there stays',
  )
  const printed = await run('--seed', '9', '--print', '3')
  t.equal(printed.code, 0)
  t.match(printed.stdout, /^name: seed 9, number 3$/m)
  t.equal(printed.stdout, (await run('--seed', '9', '--print', '3')).stdout)
  for (const [args, message] of [
    [['--seed', '-1'], /expected a whole number from 0/],
    [['--count', '0'], /from 1/],
    [['--time', '5 parsecs'], /expected a time such as 90s/],
    [['--kernel', 'nope'], /there is no kernel 'nope'/],
    [['--out', '/proc/x'], /cannot write to --out/],
    [['extra'], /too many arguments/],
    [['--print', '3'], /--print needs --seed/],
    [['--model-only', '--jobs', '2'], /cannot be combined with --jobs/],
  ] as const) {
    const { code, stderr } = await run(...args)
    t.equal(code, 2, args.join(' '))
    t.match(stderr, message)
  }
})
