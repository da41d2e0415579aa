import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { verdictOf } from '../judge/case-outcome.ts'
import type { BootPlan, Machine } from '../machine/machine.ts'
import { readRecord, recordJson } from '../machine/record-file.ts'
import { witnessesOf } from '../machine/record.ts'
import { evidenceOf } from '../run/evidence.ts'
import type { PreparedKernel } from '../run/kernels.ts'
import { runCases } from '../run/run.ts'
import type { Case } from '../scenario/case.ts'

/** A machine, and something it boots that initialises TDX. */
export interface Contracted {
  readonly machine: Machine
  readonly item: Case
  readonly kernel: PreparedKernel
  /** An initramfs with the trigger module. */
  readonly initramfs: string
  /** An empty folder with a short path. */
  readonly folder: string
}

/** What every kind of machine must do; what reads records relies on it. */
export const machineContract = (
  t: Test,
  { machine, item, kernel, initramfs, folder }: Contracted,
): void => {
  const planIn = (name: string): BootPlan => {
    const directory = join(folder, name)
    mkdirSync(directory)
    return {
      kernel: kernel,
      machine: item.machine,
      platform: item.platform,
      allocations: item.allocations,
      words: item.words,
      steps: item.steps,
      initramfs,
      directory,
    }
  }
  const idle = (): AbortSignal => new AbortController().signal

  t.test('it says what it is', async t => {
    t.match(machine.description, /\S/)
  })

  t.test('it has the witnesses it declares', async t => {
    const record = await machine.boot(planIn('witnesses'), idle())
    t.same(witnessesOf(record), [...machine.witnesses])
    for (const word of item.words)
      t.ok(record.start.cmdline.split(' ').includes(word), word)
    t.ok(record.timing.total >= (record.timing.firstByte ?? 0))
  })

  t.test('a record can be kept in a file', async t => {
    const record = await machine.boot(planIn('file'), idle())
    const { console } = record.witnesses
    const again = readRecord(
      JSON.parse(recordJson(record)),
      console?.path ?? null,
    )
    t.same(
      { ...again, witnesses: { ...again.witnesses, console: null } },
      { ...record, witnesses: { ...record.witnesses, console: null } },
    )
  })

  t.test('the console lies in the folder of the boot', async t => {
    const plan = planIn('console')
    const { witnesses } = await machine.boot(plan, idle())
    if (!witnesses.console) return
    t.ok(witnesses.console.path.startsWith(plan.directory))
    t.match(readFileSync(witnesses.console.path, 'latin1'), 'Linux version')
  })

  t.test('two boots at a time do not meet', async t => {
    const records = await Promise.all(
      ['one', 'two'].map(name => machine.boot(planIn(name), idle())),
    )
    for (const record of records) {
      const { facts } = await evidenceOf(record)
      t.equal(facts.tdx.outcome, 'initialized')
      t.same(facts.incidents, [])
    }
  })

  t.test('an aborted boot rejects with the reason', async t => {
    const early = AbortSignal.abort(new Error('before'))
    await t.rejects(machine.boot(planIn('early'), early), /before/)
    const controller = new AbortController()
    const boot = machine.boot(planIn('late'), controller.signal)
    controller.abort(new Error('enough'))
    await t.rejects(boot, /enough/)
  })

  t.test('a case is judged on it', async t => {
    const outcomes = await runCases({
      cases: [item],
      machine,
      kernels: new Map([[item.kernel, kernel]]),
      jobs: 1,
      signal: idle(),
      workspace: {
        directory: name => Promise.resolve(planIn(`case-${name}`).directory),
      },
    })
    t.same(outcomes.map(verdictOf), ['pass'])
  })
}
