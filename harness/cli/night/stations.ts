import { availableParallelism, hostname } from 'node:os'
import { InfraError, UsageError } from '../../base/errors.ts'
import { buildKernel } from '../../kernel/build.ts'
import { KernelImage } from '../../kernel/elf.ts'
import { kernelTraits } from '../../kernel/kernel-traits.ts'
import type { Recipe } from '../../kernel/recipe.ts'
import { chosenHosts, readInventory } from '../../machine/host/inventory.ts'
import { type Qemu, findQemu } from '../../machine/qemu/probe.ts'
import type { Bench } from '../../night/bench.ts'
import type { NightPlace } from '../../night/database.ts'
import { HostBench } from '../../night/host-bench.ts'
import { sendKernel } from '../../night/kernel-copies.ts'
import { KernelShelf } from '../../night/kernel-shelf.ts'
import type { PlaceName } from '../../night/plan.ts'
import { qemuBench } from '../../night/qemu-bench.ts'
import type { BuiltForAll } from '../../night/side-jobs.ts'
import type { WorkerOptions } from '../../night/worker.ts'
import { reproduceWith } from '../../report/shell.ts'
import { knownAccelerator } from '../../run/accelerator.ts'
import type { Workspace } from '../../run/workspace.ts'
import { programName } from '../program-name.ts'
import type { Log } from './log.ts'

/** What a worker is to do on this machine. */
export interface StationFlags {
  readonly jobs?: number
  /** Names and labels of hosts; undefined: none. */
  readonly host?: readonly string[]
  readonly hosts?: string
  /** False: no guests under QEMU. */
  readonly qemu: boolean
  /** False: no kernels are built here. */
  readonly builds: boolean
}

interface Surroundings {
  /** Of the worker. */
  readonly name: string
  readonly place: NightPlace
  readonly workspace: Workspace
  readonly signal: AbortSignal
  readonly log: Log
  /** Others have to be given the kernels that are built here. */
  readonly isShared: boolean
}

/** Everything that this machine can do, and was not told to leave. */
export const openStations = async (
  flags: StationFlags,
  surroundings: Surroundings,
): Promise<Pick<WorkerOptions, 'qemu' | 'hosts' | 'build'>> => {
  const { name, place, workspace, signal, log } = surroundings
  const kernels = new KernelShelf({ db: place.db, workspace, signal })
  const reproduce = reproduceWith(programName(), [])
  const onStep = (text: string): void => {
    log('step', text)
  }
  const hosts =
    flags.host === undefined
      ? []
      : chosenHosts(await readInventory(flags.hosts), flags.host)
  if (hosts.length === 0 && flags.hosts !== undefined)
    throw new UsageError(
      'HOST',
      '--hosts is an inventory: expected --host with a name or a label beside it',
    )
  const qemu = flags.qemu ? await qemuHere(log) : undefined
  const benches = (isKvm: boolean, of: Qemu): Record<PlaceName, Bench> => {
    const options = {
      name,
      qemu: of,
      workspace,
      kernels,
      reproduce,
      onStep,
    }
    return {
      qemu: qemuBench({ ...options, accel: 'auto' }),
      'qemu-tcg': qemuBench({ ...options, accel: 'tcg' }),
      ...(isKvm && { 'qemu-kvm': qemuBench({ ...options, accel: 'kvm' }) }),
    }
  }
  const known = qemu && (await knownAccelerator(qemu))
  const kvm = known?.accel === 'kvm'
  return {
    qemu: qemu && {
      jobs: flags.jobs ?? availableParallelism(),
      kvm,
      board: qemu.board.id,
      benches: benches(kvm, qemu),
    },
    hosts: hosts.map(host => {
      const bench = new HostBench({
        host,
        workspace,
        kernels,
        signal,
        onStep,
        reproduce: reproduceWith(programName(), [
          '--host',
          host.name,
          ...(flags.hosts === undefined ? [] : ['--hosts', flags.hosts]),
        ]),
      })
      return {
        name: host.name,
        labels: host.labels,
        boot: bench.boot,
        look: () => bench.look(),
        letGo: () => bench.letGo(),
      }
    }),
    build: flags.builds ? recipe => built(recipe, surroundings) : undefined,
  }
}

/** Of this machine: workers on one machine are told apart by theirs. */
export const workerName = (): string =>
  process.env['TDXRIG_WORKER'] ?? hostname()

const qemuHere = async (log: Log): Promise<Qemu | undefined> => {
  try {
    return await findQemu()
  } catch (error) {
    if (!(error instanceof InfraError)) throw error
    log('worker', `no guests are booted here: ${error.message}`)
    return undefined
  }
}

const built = async (
  recipe: Recipe,
  { place, workspace, signal, log, isShared }: Surroundings,
): Promise<BuiltForAll> => {
  let last = ''
  const kernel = await buildKernel(recipe, {
    signal,
    onProgress: ({ phase }) => {
      if (phase === last) return
      last = phase
      log('kernel', `${recipe.name}: ${phase}`)
    },
  })
  const { release } = await kernelTraits(await KernelImage.open(kernel.vmlinux))
  if (isShared)
    await sendKernel(place.db, kernel, recipe, { work: workspace.path })
  log('kernel', `${recipe.name}: built, ${kernel.key.slice(0, 12)}`)
  return { key: kernel.key, release: release ?? null }
}
