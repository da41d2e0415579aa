import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { projectRoot } from '../base/paths.ts'
import { DEFAULT_BOARD } from '../board/index.ts'
import type { CaseOutcome } from '../judge/case-outcome.ts'
import { caseDocument } from '../report/document.ts'
import { caseOf } from '../scenario/build.ts'
import type { Case } from '../scenario/case.ts'
import { loadCases } from '../scenario/load.ts'
import { LEAF } from '../tdx/leaves.ts'
import { realKernels, realMachine } from '../testing/real-boots.ts'
import { SnapshotStore } from '../machine/qemu/snapshot-store.ts'
import { type RunOptions, runCases } from '../run/run.ts'
import { Workspace } from '../run/workspace.ts'
import { randomScenario } from './generate.ts'

/**
 * What makes a boot shorter changes nothing of what it shows, but for what init
 * does where the boot ends before.
 * All shipped scenarios and 200 random layouts take half an hour:
 * `TDXRIG_ON_REQUEST=1 npx tap --timeout=6000 FILE` asks for them.
 */
const ALL = process.env['TDXRIG_ON_REQUEST'] === '1'
/** Initialises TDX as it boots, and when it is asked to. */
const KERNELS = ['mainline-7.3', 'upstream-6.12']
const SEED = 18
const LAYOUTS = ALL ? 200 : 6
const SCENARIOS = ALL ? [''] : ['plain', 'limits/newer-module.yaml']

const shipped = (): Promise<Case[]> =>
  loadCases(
    SCENARIOS.map(name => join(projectRoot(), 'scenarios', name)),
    {
      kernels: KERNELS,
      byDefault: KERNELS,
      onlyKernels: undefined,
      board: DEFAULT_BOARD,
    },
  )

const random = (): Case[] =>
  Array.from({ length: LAYOUTS }, (_, number) => {
    const name = { seed: SEED, number, board: DEFAULT_BOARD }
    const kernel = KERNELS[number % KERNELS.length]!
    return caseOf(randomScenario(name), {
      id: `random/${number}@${kernel}`,
      scenario: 'random',
      kernel,
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
  const fields =
    outcome.kind === 'judged'
      ? (outcome.evidence.record.witnesses.module?.seamcalls ?? [])
          .filter(({ leaf }) => leaf === LEAF.SYS_RD)
          .map(({ rcx, rdx, r8 }) => [rcx, rdx, r8].join(' '))
      : []
  return {
    verdict,
    reasons,
    tdx,
    regions,
    covered,
    calls,
    fields,
    cmdline,
    incidents,
    end,
  }
}

/** Boots as the rig does by default, but for what is asked. */
const boots = async (
  workspace: Pick<Workspace, 'directory'>,
  options: Pick<RunOptions, 'cases' | 'kernels' | 'machine'> &
    Partial<RunOptions>,
): Promise<CaseOutcome[]> =>
  runCases({
    workspace,
    jobs: 2,
    signal: new AbortController().signal,
    ...options,
  })

t.test('shortcuts of a boot', async t => {
  t.setTimeout(6_000_000)
  await using workspace = Workspace.create()
  const kernels = await realKernels(KERNELS, workspace)
  const machine = await realMachine()
  const cases = [...(await shipped()), ...random()]
  const usual = { cases, kernels, machine }
  await using part = await workspace.part('whole')
  const whole = await boots(part, usual)
  const ofCase = new Map(whole.map(outcome => [outcome.item.id, outcome]))
  const same = (t: Test, outcome: CaseOutcome, what: string): void => {
    const { id } = outcome.item
    t.same(shown(outcome), shown(ofCase.get(id)!), `${id} ${what}`)
  }

  await t.test('it ends when TDX is initialised', async t => {
    await using part = await workspace.part('stopped')
    let shorter = 0
    for (const outcome of await boots(part, {
      ...usual,
      stopAtOutcome: true,
    })) {
      same(t, outcome, 'ends early')
      if (outcome.kind === 'judged' && !outcome.evidence.facts.guest.done)
        shorter++
    }
    t.ok(shorter > 0, `of ${cases.length} boots ${shorter} ended early`)
  })

  await t.test('it can be entered', t => {
    const { textGap, paddedSites } = kernels.get('mainline-7.3')!.sites
    t.ok(textGap, 'there is room for it')
    t.same(
      paddedSites.map(({ site }) => site.symbol),
      ['__seamcall', '__seamcall_ret', 'x86_vmx_enable_virtualization_cpu'],
    )
    t.end()
  })

  await t.test('it goes on from a snapshot', async t => {
    await using part = await workspace.part('snapshots')
    const store = await workspace.directory('store-of-snapshots')
    const snapshots = new SnapshotStore(store)
    const shortened = await realMachine({ snapshots, entersGuest: true })
    let went = 0
    const keysIn = (): string[] =>
      readdirSync(store).filter(name => /^[0-9a-f]{32}$/.test(name))
    let taken: string[] = []
    // The first time it is asked for, the second time it is taken; calls stop the
    // guest at watchpoints, and reads of metadata not at all.
    for (const time of ['asked', 'taken', 'used']) {
      taken = keysIn()
      for (const outcome of await boots(part, {
        ...usual,
        machine: shortened,
      })) {
        same(t, outcome, time)
        const isFrom =
          outcome.kind === 'judged' &&
          outcome.evidence.record.start.snapshot === true
        if (time === 'used' && isFrom) went++
      }
    }
    t.ok(
      went > cases.length / 2,
      `of ${cases.length} cases ${went} went on from a snapshot`,
    )
    const keys = keysIn()
    const lost = taken.filter(key => !keys.includes(key))
    t.same(lost, [], 'each could be loaded')
    const memories = readdirSync(store).filter(name => name.endsWith('.memory'))
    t.ok(
      memories.length < keys.length,
      `${keys.length} snapshots share ${memories.length} memories`,
    )
  })
})
