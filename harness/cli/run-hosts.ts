import { UsageError } from '../base/errors.ts'
import { TIB } from '../base/units.ts'
import { type Board, type FoundMachine, foundBoard } from '../board/index.ts'
import { join } from 'node:path'
import { type BuiltRecipe, builtRecipes } from '../kernel/recipe.ts'
import { giveBack } from './give-back.ts'
import { InstalledKernels, splitInstalled } from './installed-kernels.ts'
import { HostMachine } from '../machine/host/host-machine.ts'
import { chosenHosts, readInventory } from '../machine/host/inventory.ts'
import { rehearsalText } from '../machine/host/rehearsal.ts'
import { HostSession } from '../machine/host/session.ts'
import { E820 } from '../memory/e820.ts'
import type { RunRequest } from '../run/journal.ts'
import type { MissingKernel } from '../run/run.ts'
import { type PreparedKernel, prepareKernels } from '../run/kernels.ts'
import { Workspace } from '../run/workspace.ts'
import type { Case } from '../scenario/case.ts'
import { casesOf, requestOf, resumedJournal } from './asked-cases.ts'
import { onInterrupt } from './interrupt.ts'
import { progressFor } from './progress.ts'
import { neededKernels, recipesOf } from './rig.ts'
import {
  type Ground,
  type RunOutcome,
  type Stage,
  checkOutputs,
  conduct,
} from './conduct.ts'
import type { RunFlags } from './run-flags.ts'

/** A host with the cases for it. */
interface HostPart {
  readonly session: HostSession
  readonly board: Board
  readonly cases: readonly Case[]
  /** Of the kernels that were asked for, those that are its own. */
  readonly installed: readonly BuiltRecipe[]
}

/** `tdxrig run --host`: each host boots all cases that suit it, at once. */
export const runOnHosts = async (
  paths: readonly string[],
  flags: RunFlags,
): Promise<RunOutcome> => {
  if (flags.rejudge)
    throw new UsageError(
      'HOST',
      '--host boots, and --rejudge does not: expected one of them',
    )
  if (!flags.shortcuts && flags.resume === undefined)
    throw new UsageError(
      'HOST',
      '--no-shortcuts is about guests of QEMU: expected no --host beside it',
    )
  const { signal } = onInterrupt()
  const journal =
    flags.resume === undefined
      ? undefined
      : await resumedJournal(paths, flags, flags.resume)
  const request = journal?.head.request ?? requestOf(paths, flags)
  const hosts = chosenHosts(
    await readInventory(request.inventory ?? undefined),
    request.hosts,
  )
  if (flags.dryRun === true) {
    for (const host of hosts) process.stdout.write(rehearsalText(host))
    return { code: 0, outcomes: [] }
  }
  const { installed: words } = splitInstalled(request.kernels)
  await verifyScenarios(request, words.length > 0)
  await checkOutputs(flags)
  await using workspace = Workspace.create()
  const progress = await progressFor()
  const stage = { workspace, progress, signal }
  const sessions: HostSession[] = []
  try {
    const opened = await Promise.allSettled(
      hosts.map(host =>
        HostSession.open({
          host,
          directory: workspace.path,
          purpose: `tdxrig run ${request.paths.join(' ')}`,
          signal,
          onStep: progress.step,
        }),
      ),
    )
    sessions.push(
      ...opened.flatMap(one => (one.status === 'fulfilled' ? [one.value] : [])),
    )
    for (const one of opened) if (one.status === 'rejected') throw one.reason
    const copies = new InstalledKernels(join(workspace.path, 'installed'))
    const parts: HostPart[] = []
    for (const session of sessions) {
      const board = foundBoard(session.found.machine)
      const installed = await copies.of(session, words, signal)
      const host = session.host.name
      const cases = await casesOf(request, board, { host, installed })
      parts.push({ session, board, cases, installed })
    }
    const cases = parts.flatMap(part => part.cases)
    verifySuitable(cases)
    const outcome = await conduct({ cases, request, journal }, flags, {
      stage,
      ground: () => hostGround(parts, request, stage),
    })
    const isBack = await giveBack(sessions.splice(0), signal)
    return isBack || outcome.code !== 0 ? outcome : { ...outcome, code: 3 }
  } finally {
    progress.close()
    await giveBack(sessions, signal)
  }
}

/** Any host: what is wrong in a file is wrong on all of them. */
const ANY_HOST: FoundMachine = {
  e820: [{ start: 0, end: TIB, type: E820.RAM }],
  srat: undefined,
  cpus: 1,
  packageOf: [0],
  nodeCpus: [],
  keyids: undefined,
  cmrs: undefined,
}

/**
 * Mistakes are told before anybody's host is asked anything.
 *
 * @throws UsageError
 */
const verifyScenarios = async (
  request: RunRequest,
  wantsInstalled: boolean,
): Promise<void> => {
  const installed: BuiltRecipe[] = wantsInstalled
    ? [
        {
          kind: 'built',
          name: 'installed',
          why: 'what a host has',
          path: '/',
          installed: '',
          series: undefined,
        },
      ]
    : []
  // The names of hosts, which are in ids, are not known here.
  const all = { ...request, filter: [] }
  await casesOf(all, foundBoard(ANY_HOST), { host: '', installed })
}

/** Nothing to boot is a mistake of whoever asks. */
const verifySuitable = (cases: readonly Case[]): void => {
  if (cases.some(({ unsuitable }) => unsuitable === undefined)) return
  throw new UsageError(
    'NO_CASES',
    [
      'no case suits these hosts:',
      ...cases.map(({ id, unsuitable = '' }) => `  ${id}: ${unsuitable}`),
    ].join('\n'),
  )
}

/**
 * A release has one folder of modules on a host.
 *
 * @throws UsageError
 */
const verifyReleases = (kernels: readonly PreparedKernel[]): void => {
  const withModules = kernels.filter(
    ({ modules }) => modules && modules.kind !== 'installed',
  )
  for (const [i, { name, release }] of withModules.entries()) {
    const other = withModules
      .slice(0, i)
      .find(before => before.release === release)
    if (other)
      throw new UsageError(
        'HOST_KERNEL',
        `${other.name} and ${name} are both ${release ?? 'of no release'}, and a host keeps one set of modules of a release: run them one after the other, or give one another CONFIG_LOCALVERSION`,
      )
  }
}

const hostGround = async (
  parts: readonly HostPart[],
  request: RunRequest,
  { workspace, progress, signal }: Stage,
): Promise<Ground> => {
  const built = [
    ...builtRecipes(request.kernelBuilds),
    ...parts.flatMap(({ installed }) => installed),
  ]
  const missing = new Map<string, MissingKernel>()
  const kernels = await prepareKernels(
    await recipesOf(
      parts.flatMap(({ cases }) => cases.map(({ kernel }) => kernel)),
      built,
    ),
    {
      workspace,
      signal,
      onBuild: progress.building,
      needed: neededKernels(request.kernels, built),
      onMissing: ({ name, series }, message) =>
        missing.set(name, { series, message }),
    },
  )
  verifyReleases([...kernels.values()])
  const machines = parts.map(part => ({
    part,
    machine: new HostMachine(part.session),
  }))
  return {
    machine: machines.map(({ machine }) => machine.description).join('; '),
    board: parts[0]!.board.id,
    kernels,
    missing,
    groups: cases =>
      machines.map(({ part, machine }) => ({
        cases: cases.filter(item => part.cases.includes(item)),
        machine,
        jobs: 1,
      })),
  }
}
