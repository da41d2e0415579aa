import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { InfraError } from '../base/errors.ts'
import { isThere, projectRoot } from '../base/paths.ts'
import type { TriggerKind } from '../tdx/series/series.ts'
import type { BuildLog } from './make.ts'

/** Built from `images/trigger`: the same source works against any tree. */
const MODULE = 'tdxrig_trigger.ko'

/** What a failure of the build begins with. */
export const TRIGGER_PHASE = 'compile the trigger module'

const NO_TRIGGER: Partial<Record<TriggerKind, string>> = {
  'at boot': 'the kernel initialises TDX as it boots',
  none: 'the kernel exports no tdx_enable()',
}

/** Why a kernel needs no trigger module, or cannot have one. */
export const whyNoTrigger = (kind: TriggerKind): string | undefined =>
  NO_TRIGGER[kind]

/** Where and how the module is compiled. */
export interface TriggerBuild {
  /** The folder the kernel was built in. */
  readonly objects: string
  /** An empty folder to build in. */
  readonly work: string
  /** The file that is made. */
  readonly result: string
  /** Of make: what the kernel itself was built with. */
  readonly options?: readonly string[]
}

/** Compiles the trigger module against a built kernel and leaves that alone. */
export const buildTrigger = async (
  { objects, work, result, options = [] }: TriggerBuild,
  log: BuildLog,
): Promise<void> => {
  await cp(join(projectRoot(), 'images', 'trigger'), work, { recursive: true })
  // A tree whose modules were not built has the symbols of the kernel only.
  const exported = join(objects, 'vmlinux.symvers')
  const extra =
    !(await isThere(join(objects, 'Module.symvers'))) &&
    (await isThere(exported))
      ? [`KBUILD_EXTRA_SYMBOLS=${exported}`]
      : []
  await log.make(TRIGGER_PHASE, objects, [
    `M=${work}`,
    ...options,
    ...extra,
    'modules',
  ])
  const module = join(work, MODULE)
  if (!(await isThere(module)))
    throw new InfraError(
      'NO_TRIGGER',
      `expected make to build ${MODULE} in ${objects}, it built nothing and said no error: is that the Makefile of a kernel build?`,
    )
  await cp(module, result)
}
