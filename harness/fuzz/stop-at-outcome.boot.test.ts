import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { DEFAULT_BOARD } from '../board/index.ts'
import type { CaseOutcome } from '../judge/case-outcome.ts'
import { caseDocument } from '../report/document.ts'
import { caseOf } from '../scenario/build.ts'
import type { Case } from '../scenario/case.ts'
import { loadCases } from '../scenario/load.ts'
import { LEAF } from '../tdx/leaves.ts'
import { realKernels, realMachine } from '../testing/real-boots.ts'
import { runCases } from '../run/run.ts'
import { Workspace } from '../run/workspace.ts'
import { randomScenario } from './generate.ts'

/**
 * A boot that ends when TDX is initialised shows the same as one that goes on,
 * but for what init does.
 * All shipped scenarios and 200 random layouts take ten minutes:
 * `TDXRIG_ON_REQUEST=1 npx tap --timeout=3000 FILE` asks for them.
 */
const ALL = process.env['TDXRIG_ON_REQUEST'] === '1'
const KERNEL = 'mainline-7.3'
const SEED = 18
const LAYOUTS = ALL ? 200 : 6
const SCENARIOS = ALL ? [''] : ['plain', 'limits/newer-module.yaml']

const shipped = (): Promise<Case[]> =>
  loadCases(
    SCENARIOS.map(name => join(projectRoot(), 'scenarios', name)),
    { kernels: [KERNEL], onlyKernels: [KERNEL], board: DEFAULT_BOARD },
  )

const random = (): Case[] =>
  Array.from({ length: LAYOUTS }, (_, number) => {
    const name = { seed: SEED, number, board: DEFAULT_BOARD }
    return caseOf(randomScenario(name), {
      id: `random/${number}@${KERNEL}`,
      scenario: 'random',
      kernel: KERNEL,
    })
  })

/** What people and programs go by. */
const shown = (outcome: CaseOutcome): Record<string, unknown> => {
  const { verdict, reasons, tdx, regions, ...document } = caseDocument(
    outcome,
    () => '',
  )
  const { tdmrs, seamcalls, cmdline, incidents, end } = document
  // Which CPU is the fastest changes, and with it where PAMTs come to lie; the
  // kernel disables TDX at power-off.
  const covered = tdmrs?.map(({ base, size }) => `${base} ${size}`)
  const calls = (seamcalls ?? [])
    .filter(({ leaf }) => leaf !== LEAF.SYS_DISABLE)
    .map(({ name, status }) => `${name} ${status}`)
  return {
    verdict,
    reasons,
    tdx,
    regions,
    covered,
    calls,
    cmdline,
    incidents,
    end,
  }
}

t.test('the same is seen of a boot that stops at the outcome', async t => {
  t.setTimeout(3_000_000)
  await using workspace = Workspace.create()
  const kernels = await realKernels([KERNEL], workspace)
  const machine = await realMachine()
  const cases = [...(await shipped()), ...random()]
  let shorter = 0
  const boot = async (stopAtOutcome: boolean): Promise<CaseOutcome[]> => {
    await using part = await workspace.part(String(stopAtOutcome))
    return await runCases({
      cases,
      machine,
      kernels,
      workspace: part,
      jobs: 2,
      signal: new AbortController().signal,
      stopAtOutcome,
    })
  }
  const whole = await boot(false)
  for (const [i, outcome] of (await boot(true)).entries()) {
    t.same(shown(outcome), shown(whole[i]!), outcome.item.id)
    if (outcome.kind === 'judged' && !outcome.evidence.facts.guest.done)
      shorter++
  }
  t.ok(shorter > 0, `of ${cases.length} boots ${shorter} ended early`)
})
