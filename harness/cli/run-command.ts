import { UsageError } from '../base/errors.ts'
import { toolchain } from '../base/toolchain.ts'
import {
  type Ground,
  type RunOutcome,
  type Stage,
  checkOutputs,
  conduct,
} from './conduct.ts'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { builtRecipes } from '../kernel/recipe.ts'
import { JOURNAL, readJournal } from '../run/journal.ts'
import { type Qemu, findQemu } from '../machine/qemu/probe.ts'
import type { MissingKernel } from '../run/run.ts'
import { Workspace } from '../run/workspace.ts'
import { onInterrupt } from './interrupt.ts'
import { progressFor } from './progress.ts'
import { type Asked, askedCases } from './asked-cases.ts'
import { boardHere } from './board-here.ts'
import { neededKernels, openRig, recipesOf } from './rig.ts'
import type { RunFlags } from './run-flags.ts'

/** `tdxrig run`: boots, judges, reports. @returns the exit code */
export const runCommand = async (
  paths: readonly string[],
  flags: RunFlags,
): Promise<number> => {
  if (flags.host !== undefined || (await resumesOnHosts(flags))) {
    const { runOnHosts } = await import('./run-hosts.ts')
    return (await runOnHosts(paths, flags)).code
  }
  if (flags.dryRun === true)
    throw new UsageError('DRY_RUN', '--dry-run is for hosts: expected --host')
  if (!flags.rejudge) return (await runAndReport(paths, flags)).code
  const { rejudgeBundles } = await import('./rejudge-command.ts')
  return rejudgeBundles(paths, flags)
}

/** The run that goes on was one on hosts. */
const resumesOnHosts = async ({ resume }: RunFlags): Promise<boolean> => {
  if (resume === undefined) return false
  const { head } = await readJournal(join(resume, JOURNAL))
  return head.request.hosts.length > 0
}

/** Boots scenarios under QEMU, judges and reports. */
export const runAndReport = async (
  paths: readonly string[],
  flags: RunFlags,
): Promise<RunOutcome> => {
  const { signal } = onInterrupt()
  // Kernels are found by it; it answers while scenarios are read.
  toolchain().catch(() => undefined)
  const asked = await askedCases(paths, flags, await boardHere())
  await checkOutputs(flags)
  const qemu = await findQemu()
  await using workspace = Workspace.create()
  const progress = await progressFor()
  return await conduct(asked, flags, {
    stage: { workspace, progress, signal },
    ground: () =>
      qemuGround(asked, { qemu, flags, workspace, progress, signal }),
  })
}

const qemuGround = async (
  asked: Asked,
  {
    qemu,
    flags,
    ...stage
  }: Stage & { readonly qemu: Qemu; readonly flags: RunFlags },
): Promise<Ground> => {
  const missing = new Map<string, MissingKernel>()
  const built = builtRecipes(asked.request.kernelBuilds)
  const { machine, kernels } = await openRig({
    ...stage,
    recipes: await recipesOf(
      asked.cases.map(({ kernel }) => kernel),
      built,
    ),
    needed: neededKernels(asked.request.kernels, built),
    qemu,
    accel: asked.request.accel,
    snapshots: asked.request.shortcuts,
    entersGuest: asked.request.shortcuts,
    onMissing: ({ name, series }, message) =>
      missing.set(name, { series, message }),
  })
  return {
    machine: `${machine.description}, ${qemu.description}`,
    board: qemu.board.id,
    kernels,
    missing,
    groups: cases => [
      { cases, machine, jobs: flags.jobs ?? availableParallelism() },
    ],
  }
}
