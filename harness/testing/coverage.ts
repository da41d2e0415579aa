import { mkdir, readFile, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { InfraError, UsageError, messageOf } from '../base/errors.ts'
import { projectRoot } from '../base/paths.ts'
import { onInterrupt } from '../cli/interrupt.ts'
import { SummedCounters } from '../coverage/gcda.ts'
import { countedLines } from '../coverage/gcov.ts'
import { type ObjectCounters, readGcovInfo } from '../coverage/gcov-info.ts'
import {
  type KernelCoverage,
  coverageOf,
  coverageText,
  lineCoverage,
} from '../coverage/report.ts'
import { verdictOf } from '../judge/case-outcome.ts'
import type { BuildProgress } from '../kernel/make.ts'
import { loadRecipe, recipeNames } from '../kernel/recipe.ts'
import { GuestTsc } from '../machine/qemu/guest-tsc.ts'
import { type Qemu, findQemu } from '../machine/qemu/probe.ts'
import { type EndedGuest, QemuMachine } from '../machine/qemu/qemu-machine.ts'
import { type PreparedKernel, prepareKernels } from '../run/kernels.ts'
import { runCases } from '../run/run.ts'
import { Workspace } from '../run/workspace.ts'
import { loadCases } from '../scenario/load.ts'
import type { SeriesName } from '../tdx/series/index.ts'
import { say } from './bench-tools.ts'

/**
 * Boots the matrix on kernels that count which lines of their TDX host support
 * are executed, and says which were not.
 */

/** Shipped kernels that there is one of which counts. */
const KERNELS = ['mainline-7.3', 'upstream-6.12', 'v6-6.1']

/** Of the lines that can be reached. */
const TARGET = 0.95

const { signal } = onInterrupt()

interface Asked {
  readonly kernels: readonly string[]
  readonly jobs: number
  /** Scenario files and folders. */
  readonly paths: readonly string[]
}

/** @throws UsageError for what the command line does not take */
const asked = (): Asked => {
  const { values, positionals } = parsed()
  const kernels = values.kernel ?? KERNELS
  const unknown = kernels.find(name => !KERNELS.includes(name))
  if (unknown !== undefined)
    throw new UsageError(
      'NO_KERNEL',
      `expected one of ${KERNELS.join(', ')}, found '${unknown}'`,
    )
  const jobs = Number(values.jobs ?? availableParallelism())
  if (!Number.isInteger(jobs) || jobs < 1)
    throw new UsageError(
      'JOBS',
      `expected a number of boots at a time, found --jobs ${values.jobs ?? ''}`,
    )
  return {
    kernels,
    jobs,
    paths:
      positionals.length > 0 ? positionals : [join(projectRoot(), 'scenarios')],
  }
}

const parsed = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        kernel: { type: 'string', multiple: true },
        jobs: { type: 'string' },
      },
    })
  } catch (error) {
    throw new UsageError('OPTIONS', messageOf(error), { cause: error })
  }
}

/** Each phase of a build once: it takes minutes. */
const sayBuild = (): ((kernel: string, build: BuildProgress) => void) => {
  let last = ''
  return (kernel, { phase }) => {
    if (phase !== last) say(`${kernel}: ${phase}`)
    last = phase
  }
}

/** Counters of a guest that has ended. */
const countersOf = async ({
  plan: { kernel, directory },
  save,
}: EndedGuest): Promise<ObjectCounters[]> => {
  const { image } = kernel
  const head = image.symbol('gcov_info_head')?.address
  const range = image.physicalRange
  if (head === undefined || !range)
    throw new InfraError(
      'NO_COUNTERS',
      `expected ${image.path} to be built with CONFIG_GCOV_KERNEL: it has no gcov_info_head`,
    )
  const path = join(directory, 'memory')
  await save(range, path)
  const memory = await readFile(path)
  await rm(path)
  return readGcovInfo((address, length) => {
    const at = image.physicalAddress(address) - range.start
    if (at < 0 || at + length > memory.length)
      throw new RangeError(`0x${address.toString(16)} is not in the kernel`)
    return memory.subarray(at, at + length)
  }, head)
}

interface Measuring extends Pick<Asked, 'jobs' | 'paths'> {
  readonly qemu: Qemu
  readonly workspace: Workspace
}

interface Measured {
  readonly coverage: KernelCoverage
  /** Every case did what it must. */
  readonly pass: boolean
}

/** Boots every case of a kernel, and adds up what its boots counted. */
const measure = async (
  name: string,
  counting: PreparedKernel,
  { qemu, workspace, jobs, paths }: Measuring,
): Promise<Measured> => {
  const counters = new SummedCounters()
  let counted = 0
  const cases = await loadCases(paths, {
    kernels: await recipeNames(),
    byDefault: KERNELS,
    onlyKernels: undefined,
    board: qemu.board,
  })
  const own = cases.filter(({ kernel }) => kernel === name)
  const machine = new QemuMachine({
    binary: qemu.binary,
    tsc: new GuestTsc(qemu),
    accel: 'tcg',
    reason: 'coverage',
    lastLook: async guest => {
      counters.add(await countersOf(guest))
      counted++
    },
  })
  const outcomes = await runCases({
    cases: own,
    machine,
    // The same kernel by the same name, so that its scenarios are its own.
    kernels: new Map([[name, counting]]),
    workspace,
    jobs,
    signal,
    onOutcome: outcome => {
      if (verdictOf(outcome) === 'pass') return
      const why =
        outcome.kind === 'judged'
          ? outcome.judgement.reasons.map(({ message }) => message).join('; ')
          : outcome.message
      say(`${outcome.item.id}: ${verdictOf(outcome)}: ${why}`)
    },
  })
  signal.throwIfAborted()
  const passed = outcomes.filter(outcome => verdictOf(outcome) === 'pass')
  say(
    `${name}: ${outcomes.length} cases, ${passed.length} pass, counters of ${counted} boots`,
  )
  const notes = counting.built.coverage
  if (notes === undefined)
    throw new InfraError('NO_COUNTERS', `the build of ${name} has no notes`)
  const work = join(workspace.path, `gcov-${name}`)
  await mkdir(work)
  const lines = await countedLines(counters.objects, { notes, work })
  return {
    coverage: coverageOf(name, counting.series?.name as SeriesName, lines),
    pass: passed.length === outcomes.length,
  }
}

const main = async (): Promise<number> => {
  const { kernels, jobs, paths } = asked()
  const qemu = await findQemu()
  await using workspace = Workspace.create()
  let enough = true
  const summary: string[] = []
  for (const name of kernels) {
    const prepared = await prepareKernels(
      [await loadRecipe(`${name}-coverage`)],
      { workspace, onBuild: sayBuild(), signal },
    )
    const counting = prepared.get(`${name}-coverage`)!
    const { coverage, pass } = await measure(name, counting, {
      qemu,
      workspace,
      jobs,
      paths,
    })
    say(coverageText(coverage))
    const reached = lineCoverage(coverage)
    enough &&= pass && reached >= TARGET && coverage.wrongRows.length === 0
    summary.push(
      `${name}: ${(100 * reached).toFixed(1)} % of the lines that can be reached (target: ${100 * TARGET} %)`,
    )
  }
  say(summary.join('\n'))
  return enough ? 0 : 1
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`)
  process.exitCode = error instanceof UsageError ? 2 : signal.aborted ? 130 : 3
}
