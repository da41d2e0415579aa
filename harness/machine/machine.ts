import type { KernelSites } from '../emulate/kernel-sites.ts'
import type { KernelImage } from '../kernel/elf.ts'
import type { ModuleSource } from '../kernel/modules.ts'
import type { MachineSpec } from '../scenario/machine-spec.ts'
import type { AllocationPlan } from '../scenario/case.ts'
import type { Step } from '../scenario/steps.ts'
import type { Series } from '../tdx/series/index.ts'
import type { TriggerKind } from '../tdx/series/series.ts'
import type { Platform } from '../tdx/platform.ts'
import type { BootRecord, WitnessName } from './record.ts'

/** A kernel that can be booted, with what was looked up in it once. */
export interface BootableKernel {
  readonly name: string
  readonly image: KernelImage
  readonly sites: KernelSites
  /** What is started: the image itself where it has PVH, else a bzImage. */
  readonly bootFile: string
  /** What a boot loader starts; undefined where only a vmlinux is there. */
  readonly bzImage: string | undefined
  /** Its .config; undefined: not known. */
  readonly config: string | undefined
  /** Undefined: it has none, or they are not where it came from. */
  readonly modules: ModuleSource | undefined
  /** Our module that asks it to initialise TDX; undefined: there is none. */
  readonly triggerModule: string | undefined
  /** Undefined: a series the model does not know: how TDX ends is not predicted. */
  readonly series: Series | undefined
  /** `6.12.117`; undefined when the image does not say. */
  readonly release: string | undefined
  /** Who initialises the module on it, and how. */
  readonly trigger: TriggerKind
  /** It calls the TDX module; else only its memory layout can be judged. */
  readonly hostsTdx: boolean
  /** It has hibernation (CONFIG_HIBERNATION), and `nohibernate` to disable it. */
  readonly hibernates: boolean
  /** The region list can be read from memory. */
  readonly hasMemlist: boolean
  /** It prints the region list when it has built it. */
  readonly printsRegions: boolean
  /** It takes tdx_fail_region=, which makes the list fail. */
  readonly failsRegions: boolean
}

/** A kernel that is started by another one: the same image, booted again. */
export interface NextKernel {
  /** Kernel parameters of the scenario; the machine adds its own. */
  readonly words: readonly string[]
  readonly initramfs: string
}

/** Everything a machine needs for one boot. */
export interface BootPlan {
  readonly kernel: BootableKernel
  readonly machine: MachineSpec
  readonly platform: Platform
  /** What the kernel allocates is followed; undefined: it is not. */
  readonly allocations: AllocationPlan | undefined
  /** Kernel parameters of the scenario; the machine adds its own. */
  readonly words: readonly string[]
  /** What happens once the kernel is up; init in the initramfs knows them. */
  readonly steps: readonly Step[]
  readonly initramfs: string
  /** What the kexec step at the end of the steps starts; undefined: none. */
  readonly next?: NextKernel | undefined
  /** Private folder of this boot; the console is written there. */
  readonly directory: string
  /**
   * The boot may end as soon as TDX is initialised; default: it goes on until
   * all steps are done.
   */
  readonly stopsAtOutcome?: boolean
  /** Other boots will begin in the same way; default: not known. */
  readonly beginsAgain?: boolean
  /** It begins at the firmware, whatever others did; default: it need not. */
  readonly isWhole?: boolean
  /** Told of what the boot has come to, for people: `kernel boots`. */
  readonly onStage?: (stage: string) => void
}

/**
 * Something that boots a kernel: an emulator, a host, a saved boot. Every kind
 * passes the same contract (harness/testing/machine-contract.ts).
 */
export interface Machine {
  /** What was chosen and why, for people. */
  readonly description: string
  /** What it will witness of a boot. */
  readonly witnesses: ReadonlySet<WitnessName>
  /** It sees what becomes of a kernel that another one starts with kexec. */
  readonly followsKexec?: boolean
  /** What boots that begin alike have in common it does once. */
  readonly sharesBeginnings?: boolean
  /**
   * Boots until the result is settled.
   *
   * @throws InfraError when the machine itself fails
   * @throws the reason of the signal, when that came first
   */
  boot(plan: BootPlan, signal: AbortSignal): Promise<BootRecord>
}
