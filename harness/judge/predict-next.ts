import { parseCmdline } from '../memory/cmdline.ts'
import { ZEROPAGE_ENTRIES } from '../memory/e820.ts'
import type { Layout } from '../memory/predict.ts'
import type { MachineSpec } from '../scenario/machine-spec.ts'
import { nextKernelOf } from '../scenario/steps.ts'
import type { Stage } from '../tdx/outcome.ts'
import type { Series } from '../tdx/series/index.ts'
import type { CaseInput, PredictedOutcome } from './predicted-ending.ts'

/** What was predicted of the kernel before. */
export interface Before {
  readonly layout: Layout
  readonly outcome: PredictedOutcome | undefined
  readonly series: Series | undefined
}

/**
 * What a kernel finds that another one starts: the machine as it was, and the
 * module as it was left.
 *
 * @returns undefined when there is no such step
 */
export const nextInput = (
  item: CaseInput,
  before: Before,
): CaseInput | undefined => {
  const next = nextKernelOf(item.steps)
  return (
    next && {
      machine: nextMachine(item.machine, before.layout),
      platform: {
        ...item.platform,
        initialisedBefore: initialises(item, before),
      },
      allocations: undefined,
      words: next.words,
      steps: next.steps,
    }
  )
}

/**
 * kexec hands over the firmware's map, whatever memmap= made of it
 * (e820_table_kexec, arch/x86/kernel/e820.c); of that what fits into struct
 * boot_params, and nothing of the rest (setup_e820_entries(),
 * arch/x86/kernel/kexec-bzimage64.c).
 */
const nextMachine = (
  machine: MachineSpec,
  { firmwareMap, extendedMap }: Layout,
): MachineSpec =>
  machine.firmware.e820 === undefined
    ? machine
    : {
        ...machine,
        firmware: {
          ...machine.firmware,
          e820: (extendedMap ?? firmwareMap).slice(0, ZEROPAGE_ENTRIES),
        },
      }

/** Failures before the module has taken TDH.SYS.INIT. */
const BEFORE_INIT: ReadonlySet<Stage> = new Set(['checks', 'sys-init'])

/**
 * The module has taken TDH.SYS.INIT, and no TDH.SYS.DISABLE since:
 * tdx_shutdown() (arch/x86/virt/vmx/tdx/tdx.c) calls that, and is registered
 * when the initialisation has succeeded.
 */
const initialises = (
  { platform }: CaseInput,
  { outcome, series }: Before,
): boolean => {
  if (outcome?.outcome === 'initialized')
    return !(series?.disablesModule === true && platform.disables === true)
  return (
    outcome?.outcome === 'failed' &&
    outcome.stage !== null &&
    !BEFORE_INIT.has(outcome.stage)
  )
}

/** kstrtobool() (lib/kstrtox.c). */
const isTrue = (value: string): boolean => /^(?:[yt1]|on)/i.test(value)

/**
 * The kernel hands its scratch areas to the next one (kho=, early_param in
 * kernel/liveupdate/kexec_handover.c).
 */
export const handsOver = (words: readonly string[]): boolean => {
  const said = parseCmdline(words.join(' ')).findLast(
    ({ name }) => name === 'kho',
  )
  return isTrue(said?.value ?? '')
}
