import { join, relative, resolve } from 'node:path'
import { UsageError } from '../base/errors.ts'
import { projectRoot } from '../base/paths.ts'
import type { Board } from '../board/index.ts'
import { type BuiltRecipe, builtRecipes } from '../kernel/recipe.ts'
import type { CaseResult } from '../report/schema.ts'
import {
  JOURNAL,
  type Journal,
  type RunRequest,
  fingerprint,
  readJournal,
} from '../run/journal.ts'
import type { PreparedKernel } from '../run/kernels.ts'
import type { Case } from '../scenario/case.ts'
import { loadCases } from '../scenario/load.ts'
import { splitInstalled } from './installed-kernels.ts'
import { chooseKernels } from './rig.ts'
import { VERSION } from './version.ts'
import { type RunFlags, givenFlags } from './run-flags.ts'

/** The cases a run is about. */
export interface Asked {
  readonly cases: readonly Case[]
  /** What was asked for, to ask it again. */
  readonly request: RunRequest
  /** The run that goes on; undefined for a new one. */
  readonly journal: Journal | undefined
}

/** What is asked for on the command line, or was asked for by another run. */
export const askedCases = async (
  paths: readonly string[],
  flags: RunFlags,
  board: Board,
): Promise<Asked> => {
  const journal =
    flags.resume === undefined
      ? undefined
      : await resumedJournal(paths, flags, flags.resume)
  const request = journal?.head.request ?? requestOf(paths, flags)
  if (journal && ![request.accel, 'auto'].includes(flags.accel))
    throw new UsageError(
      'RESUME',
      `that run was made with --accel ${request.accel}: expected the same or no --accel, found ${flags.accel}`,
    )
  if (journal && journal.head.board !== board.id)
    throw new UsageError(
      'RESUME',
      `that run was on the board '${journal.head.board}', and QEMU here builds '${board.id}': the cases would differ`,
    )
  return { cases: await casesOf(request, board), request, journal }
}

/** resolve() takes nothing for the folder we are in. */
const kernelPath = (path: string): string => {
  if (path !== '') return resolve(path)
  throw new UsageError(
    'KERNEL_BUILD',
    'expected a kernel, found an empty name behind --kernel-build',
  )
}

/** What the command line asks for. */
export const requestOf = (
  paths: readonly string[],
  flags: RunFlags,
): RunRequest => ({
  // Relative paths stay: ids and messages have them, and so must a resumed run.
  paths: paths.length > 0 ? [...paths] : [shippedScenarios()],
  kernels: [...(flags.kernel ?? [])],
  kernelBuilds: (flags.kernelBuild ?? []).map(kernelPath),
  filter: [...(flags.filter ?? [])],
  accel: flags.accel,
  hosts: [...(flags.host ?? [])],
  inventory: flags.hosts === undefined ? null : resolve(flags.hosts),
  repeat: flags.repeat ?? 1,
  retries: flags.retries ?? 0,
  stopAtOutcome: flags.stopAtOutcome === true,
  shortcuts: flags.shortcuts,
})

/** Options that a run which is resumed has already. */
const FIXED: readonly (keyof RunFlags)[] = [
  'host',
  'hosts',
  'kernel',
  'kernelBuild',
  'filter',
  'out',
  'repeat',
  'retries',
  'stopAtOutcome',
  'shortcuts',
]

/** What was asked for cannot be changed on the way. */
export const resumedJournal = async (
  paths: readonly string[],
  flags: RunFlags,
  folder: string,
): Promise<Journal> => {
  const changed = [
    ...(paths.length > 0 ? ['paths'] : []),
    ...givenFlags(flags, FIXED),
  ]
  if (changed.length > 0)
    throw new UsageError(
      'RESUME',
      `--resume goes on with what was asked for: it cannot be combined with ${changed.join(', ')}`,
    )
  return readJournal(join(folder, JOURNAL))
}

/** The cases of a request. */
export const casesOf = async (
  { paths, kernels, kernelBuilds, filter }: RunRequest,
  board: Board,
  on?: { readonly host: string; readonly installed: readonly BuiltRecipe[] },
): Promise<Case[]> => {
  // What is installed on a host is known by another name there.
  const named = on ? splitInstalled(kernels).others : kernels
  const choice = await chooseKernels(named, [
    ...builtRecipes(kernelBuilds),
    ...(on?.installed ?? []),
  ])
  const all = await loadCases(paths, {
    ...choice,
    board,
    ...(on && { host: on.host }),
  })
  const cases =
    filter.length > 0
      ? all.filter(({ id }) => filter.some(text => id.includes(text)))
      : all
  if (cases.length === 0)
    throw new UsageError(
      'NO_CASES',
      `none of the ${all.length} cases has ${filter.map(text => `'${text}'`).join(' or ')} in its id (kernels: ${[...new Set(all.map(({ kernel }) => kernel))].join(', ')}; --kernel chooses others)`,
    )
  return cases
}

/** Relative where that is shorter, so that messages can be read. */
const shippedScenarios = (): string => {
  const path = join(projectRoot(), 'scenarios')
  const near = relative(process.cwd(), path)
  return near.startsWith('..') || near === '' ? path : near
}

/** Of every case that was asked for, by its id. */
export const fingerprintsOf = ({
  cases,
}: Pick<Asked, 'cases'>): Record<string, string> =>
  Object.fromEntries(cases.map(item => [item.id, fingerprint(item, VERSION)]))

/**
 * Cases that were not finished, and the results of those that were. A case is
 * run again when its scenario, its kernel or tdxrig itself is another one now,
 * or when the rig had failed.
 */
export const stillToRun = (
  { cases, journal }: Asked,
  kernels: ReadonlyMap<string, PreparedKernel>,
): { readonly cases: readonly Case[]; readonly before: CaseResult[] } => {
  if (!journal) return { cases, before: [] }
  const now = fingerprintsOf({ cases })
  const before = journal.cases.filter(
    ({ id, kernel, verdict }) =>
      Object.hasOwn(now, id) &&
      journal.head.cases[id] === now[id] &&
      verdict !== 'error' &&
      journal.head.kernels[kernel] === kernels.get(kernel)?.key,
  )
  const done = new Set(before.map(({ id }) => id))
  return { cases: cases.filter(({ id }) => !done.has(id)), before }
}
