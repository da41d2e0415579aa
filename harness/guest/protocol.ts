import { hex } from '../base/units.ts'
import type { Range } from '../memory/range.ts'

/**
 * The words between the rig and the programs it puts into a guest: init
 * (images/init/init.c) and the trigger module (images/trigger/tdxrig_trigger.c).
 *
 * 1. The initramfs has {@link FILES}. `steps` has one step a line, as
 *    {@link stepLine} writes it; without that file the trigger is the one step.
 * 2. Init and the trigger report through the kernel's log, a record each;
 *    {@link parseReport} reads them.
 * 3. Init waits for {@link ANSWER} on the second serial port after it has said
 *    that it wants a DIMM. Before a machine check, which ends it, it says
 *    {@link READY} there once it has the answer.
 *
 * protocol.test.ts compares the strings of the C sources with this file.
 */

/** Paths in the initramfs. */
export const FILES = {
  init: '/init',
  trigger: '/tdxrig_trigger.ko',
  /** The kernel's own device for module updates. */
  tdxHost: '/tdx-host.ko',
  /** Images of modules, a number behind each. */
  image: '/image',
  steps: '/steps',
  /** The kernel that a kexec step starts, with its initramfs and cmdline. */
  nextKernel: '/next/kernel',
  nextInitramfs: '/next/initramfs',
  nextCmdline: '/next/cmdline',
  /** Where init reads answers: the guest's second serial port. */
  answers: '/dev/ttyS1',
} as const

/** What the rig writes when it has done what a step asked for. */
export const ANSWER = '\n'

/** What init writes to the same port when a machine check may come. */
export const READY = '!'

/** A step as the steps file has it; DIMMs are known by their addresses. */
export type GuestStep =
  /**
   * `retry`: the trigger is loaded once more.
   * `none`: the kernel has initialised TDX itself, and nothing is to be done.
   * `kexec`: what {@link FILES} has of a next kernel is started.
   */
  | {
      readonly kind: 'trigger' | 'retry' | 'none' | 'machine-check' | 'kexec'
    }
  | {
      readonly kind: 'plug' | 'unplug' | 'online' | 'offline-memory' | 'kmem'
      readonly range: Range
    }
  | { readonly kind: 'offline'; readonly cpu: number }
  /** `image` is the number of an image in the initramfs. */
  | { readonly kind: 'update'; readonly image: number }

/** `plug 0x180000000 0x1c0000000` */
export const stepLine = (step: GuestStep): string =>
  [
    step.kind,
    ...('range' in step ? [hex(step.range.start), hex(step.range.end)] : []),
    ...('cpu' in step ? [String(step.cpu)] : []),
    ...('image' in step ? [`${FILES.image}${step.image}`] : []),
  ].join(' ')

/** The prefix of every record of the guest. */
export const REPORT_PREFIX = 'tdxrig: '

/** The line the trigger module prints each time it is loaded. */
export interface TriggerResult {
  readonly cpus: number
  /**
   * Return value of the first tdx_cpu_enable() that failed, or 0; null when
   * the kernel has no such function.
   */
  readonly cpuEnable: number | null
  readonly failedCpu: number | null
  /** Return value of tdx_enable(); null when it was not called. */
  readonly enable: number | null
}

/** What init says about a step it goes through, numbered from 0. */
export type StepReport =
  /** It waits for a DIMM to be plugged, or for a machine check. */
  | {
      readonly step: number
      readonly kind: 'plug' | 'unplug' | 'machine-check'
    }
  /** How many memory blocks the kernel has of the DIMM. */
  | {
      readonly step: number
      readonly kind: 'plugged' | 'unplugged' | 'kmem'
      readonly blocks: number
    }
  | {
      readonly step: number
      readonly kind: 'online' | 'offline-memory'
      /** Memory blocks that were tried, and that the kernel refused. */
      readonly blocks: number
      readonly refused: number
      /** Of the last refusal; 0 when there was none. */
      readonly errno: number
    }
  | {
      readonly step: number
      readonly kind: 'offline'
      /** 0 when the CPU went offline. */
      readonly errno: number
    }
  | {
      readonly step: number
      readonly kind: 'kexec'
      /** Of kexec_file_load(); 0: the next kernel is started. */
      readonly errno: number
    }
  | {
      readonly step: number
      readonly kind: 'update'
      /**
       * What the kernel's firmware loader says: `none`, or at what it failed
       * and why (drivers/base/firmware_loader/sysfs_upload.c); `unavailable`:
       * it has no loader for a module.
       */
      readonly error: string
      /** Of the module that runs, as the kernel says it; `none`: unknown. */
      readonly version: string
      /** Updates that are left, as the P-SEAMLDR says it. */
      readonly left: string
    }

/** One record of init or of the trigger module. */
export type GuestReport =
  | { readonly kind: 'trigger'; readonly result: TriggerResult }
  | { readonly kind: 'step'; readonly report: StepReport }
  /** All steps are done. */
  | { readonly kind: 'done' }
  /** Init could not do something. */
  | { readonly kind: 'complaint'; readonly text: string }

type Groups = readonly (string | undefined)[]

interface Form {
  readonly pattern: RegExp
  readonly read: (groups: Groups) => GuestReport | undefined
}

const FORMS: readonly Form[] = [
  {
    pattern:
      /^trigger: cpus=(\d+) tdx_cpu_enable=(-?\d+|none)(?: failed_cpu=(\d+))? tdx_enable=(-?\d+|none)$/,
    read: groups => ({ kind: 'trigger', result: triggerOf(groups) }),
  },
  {
    pattern:
      /^step (\d+) (plug|plugged|unplug|unplugged|machine-check|kmem|online|offline-memory)(?:: blocks=(\d+))?(?: refused=(\d+) errno=(-?\d+))?$/,
    read: groups => {
      const report = stepOf(groups)
      return report && { kind: 'step', report }
    },
  },
  {
    pattern: /^step (\d+) (offline|kexec): errno=(-?\d+)$/,
    read: ([step, kind, errno]) => ({
      kind: 'step',
      report: {
        step: Number(step),
        kind: kind === 'kexec' ? kind : 'offline',
        errno: Number(errno),
      },
    }),
  },
  {
    pattern: /^step (\d+) update: error=(\S+) version=(\S+) left=(\S+)$/,
    read: ([step, error, version, left]) => ({
      kind: 'step',
      report: {
        step: Number(step),
        kind: 'update',
        error: error!,
        version: version!,
        left: left!,
      },
    }),
  },
  { pattern: /^steps done$/, read: () => ({ kind: 'done' }) },
  {
    pattern: /^init: (.+)$/s,
    read: ([text]) => ({ kind: 'complaint', text: text! }),
  },
]

/**
 * @param text a record of the kernel's log
 * @returns undefined for other lines, and for a record that was cut
 */
export const parseReport = (text: string): GuestReport | undefined => {
  if (!text.startsWith(REPORT_PREFIX)) return undefined
  const said = text.slice(REPORT_PREFIX.length)
  for (const { pattern, read } of FORMS) {
    const match = pattern.exec(said)
    if (match) return read(match.slice(1))
  }
  return undefined
}

const triggerOf = ([
  cpus,
  cpuEnable,
  failedCpu,
  enable,
]: Groups): TriggerResult => ({
  cpus: Number(cpus),
  cpuEnable: cpuEnable === 'none' ? null : Number(cpuEnable),
  failedCpu: failedCpu === undefined ? null : Number(failedCpu),
  enable: enable === 'none' ? null : Number(enable),
})

const stepOf = ([number, kind, blocks, refused, errno]: Groups):
  StepReport | undefined => {
  const step = Number(number)
  if (
    (kind === 'plug' || kind === 'unplug' || kind === 'machine-check') &&
    blocks === undefined
  )
    return { step, kind }
  if (blocks === undefined) return undefined
  if (
    (kind === 'plugged' || kind === 'unplugged' || kind === 'kmem') &&
    refused === undefined
  )
    return { step, kind, blocks: Number(blocks) }
  return (kind === 'online' || kind === 'offline-memory') &&
    refused !== undefined
    ? {
        step,
        kind,
        blocks: Number(blocks),
        refused: Number(refused),
        errno: Number(errno),
      }
    : undefined
}

/** What the programs in a guest have reported so far. */
export interface GuestFacts {
  /** Null when the trigger module printed nothing. */
  readonly trigger: TriggerResult | null
  /** When it was loaded again, in order. */
  readonly retries: readonly TriggerResult[]
  /** In order. */
  readonly steps: readonly StepReport[]
  /** Init went through all steps. */
  readonly done: boolean
  readonly complaints: readonly string[]
}

/** Kept of lists that a hostile console could grow without end. */
const LIMIT = 4096

/** Collects the reports of one boot. */
export class GuestReader {
  readonly #steps: StepReport[] = []
  readonly #complaints: string[] = []
  readonly #retries: TriggerResult[] = []
  #trigger: TriggerResult | null = null
  #done = false

  /** @returns whether the record came from the guest's init or trigger */
  read(text: string): boolean {
    const report = parseReport(text)
    if (!report) return false
    if (report.kind === 'trigger') {
      if (this.#trigger === null) this.#trigger = report.result
      else if (this.#retries.length < LIMIT) this.#retries.push(report.result)
    } else if (report.kind === 'done') this.#done = true
    else if (report.kind === 'step') {
      if (this.#steps.length < LIMIT) this.#steps.push(report.report)
    } else if (this.#complaints.length < LIMIT)
      this.#complaints.push(report.text)
    return true
  }

  get facts(): GuestFacts {
    return {
      trigger: this.#trigger,
      retries: this.#retries,
      steps: this.#steps,
      done: this.#done,
      complaints: this.#complaints,
    }
  }
}
