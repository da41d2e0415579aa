import { hex } from '../../base/units.ts'
import type { SeamcallTrace } from '../../emulate/kernel-seen.ts'
import { sizeOf } from '../../memory/range.ts'
import { LEAF, leafName } from '../../tdx/leaves.ts'
import { SOFTWARE_STATUS, status } from '../../tdx/status.ts'
import { type Reason, check } from '../context.ts'
import { fewerCpus } from '../fewer-cpus.ts'
import { offlineAtTrigger } from '../predicted-ending.ts'

/** What the kernel asked of the module, compared with what it says about it. */

const fail = (name: string, message: string): Reason => ({
  kind: 'fail',
  check: name,
  message,
})

/** Exceptions: sc_retry_prerr() gives them an errno and prints nothing. */
const UNREPORTED: ReadonlySet<bigint> = new Set(Object.values(SOFTWARE_STATUS))

/** sc_retry() tries again on this one, silently. */
const NO_ENTROPY = status('RND_NO_ENTROPY')

/** Failed SEAMCALLs and lines about them belong together, both ways. */
export const checkSeamcalls = check(
  'seamcalls',
  ['console', 'module'],
  ({ facts, kernel }, { module: { seamcalls } }) => {
    const { failedSeamcalls } = facts.tdx
    const invented = failedSeamcalls.filter(
      line =>
        !seamcalls.some(
          call => call.leaf === line.leaf && call.status === line.status,
        ),
    )
    const reports = kernel.series?.reportsSeamcalls === true
    const hidden = seamcalls.filter(
      call =>
        reports &&
        call.status !== null &&
        call.status !== 0n &&
        call.status !== NO_ENTROPY &&
        !UNREPORTED.has(call.status) &&
        // Looks at a page after a machine check, whatever comes.
        call.leaf !== LEAF.PHYMEM_PAGE_RDMD &&
        // Made at power-off: the boot is over, and its console may be cut.
        call.leaf !== LEAF.SYS_DISABLE &&
        !failedSeamcalls.some(
          line => line.leaf === call.leaf && line.status === call.status,
        ),
    )
    return [
      ...invented.map(({ leaf, status, line }) =>
        fail(
          'seamcalls',
          `the kernel reports ${leafName(leaf)} failed with ${hex(status)} (console line ${line}), which the module never returned`,
        ),
      ),
      ...hidden.map(({ leaf, status, cpu }) =>
        fail(
          'seamcalls',
          `${leafName(leaf)} on CPU ${cpu} returned ${hex(status ?? 0n)}, and the kernel said nothing about it`,
        ),
      ),
    ]
  },
)

/** A kernel that says it shut the module down did so on every CPU. */
export const checkShutdown = check(
  'shutdown',
  ['console', 'module'],
  ({ item, facts }, { module }) => {
    const says = /Shut it down\.$/.test(facts.tdx.lastMessage ?? '')
    if (!says) return []
    const done = cpusOf(module.seamcalls, LEAF.SYS_LP_SHUTDOWN)
    return [...item.platform.packageOf.keys()]
      .filter(cpu => !done.includes(cpu))
      .map(cpu =>
        fail(
          'shutdown',
          `the kernel says that it shut the module down, but TDH.SYS.LP.SHUTDOWN on CPU ${cpu} never succeeded`,
        ),
      )
  },
)

/** An initialisation is complete only when every part of it was done. */
export const checkSequence = check(
  'sequence',
  ['console', 'module'],
  ({ item, facts, layout }, { module: { seamcalls } }) => {
    if (facts.tdx.outcome !== 'initialized') return []
    const { packageOf } = item.platform
    const cpus = cpusOf(seamcalls, LEAF.SYS_LP_INIT)
    const keyed = cpusOf(seamcalls, LEAF.SYS_KEY_CONFIG).map(
      cpu => packageOf[cpu] ?? -1,
    )
    const { tdmrInitBytes } = item.platform
    const initialised = succeeded(seamcalls, LEAF.SYS_TDMR_INIT).map(
      ({ rcx }) => Number(rcx),
    )
    return [
      ...missing(
        packageOf.keys(),
        cpus,
        cpu => `TDH.SYS.LP.INIT on CPU ${cpu}`,
      ),
      ...missing(
        new Set(packageOf),
        keyed,
        own => `TDH.SYS.KEY.CONFIG on package ${own}`,
      ),
      ...layout.tdmrs
        .filter(
          tdmr =>
            initialised.filter(base => base === tdmr.start).length <
            Math.ceil(sizeOf(tdmr) / (tdmrInitBytes ?? sizeOf(tdmr))),
        )
        .map(({ start }) =>
          neverSucceeded(
            `TDH.SYS.TDMR.INIT of the whole TDMR at ${hex(start)}`,
          ),
        ),
    ]
  },
)

const succeeded = (
  calls: readonly SeamcallTrace[],
  wanted: number,
): SeamcallTrace[] =>
  calls.filter(({ leaf, status }) => leaf === wanted && status === 0n)

const cpusOf = (calls: readonly SeamcallTrace[], wanted: number): number[] =>
  succeeded(calls, wanted).map(({ cpu }) => cpu)

const missing = (
  needed: Iterable<number>,
  done: readonly number[],
  what: (value: number) => string,
): Reason[] =>
  [...needed]
    .filter(value => !done.includes(value))
    .map(value => neverSucceeded(what(value)))

const neverSucceeded = (what: string): Reason =>
  fail('sequence', `the kernel says initialized, but ${what} never succeeded`)

/** What the trigger got back agrees with what the kernel printed. */
export const checkTrigger = check(
  'trigger',
  ['console', 'steps'],
  ({ item, facts, kernel }) => {
    const { tdx } = facts
    const { trigger, retries } = facts.guest
    if (!trigger) return []
    const last = retries.at(-1) ?? trigger
    const success = (last.cpuEnable ?? 0) === 0 && last.enable === 0
    const reasons: Reason[] = []
    if (success !== (tdx.outcome === 'initialized'))
      reasons.push(
        fail(
          'trigger',
          `the kernel's log says ${tdx.outcome}, but tdx_cpu_enable() returned ${last.cpuEnable ?? 'nothing'} and tdx_enable() ${last.enable ?? 'was not called'}`,
        ),
      )
    const online =
      item.machine.cpus -
      offlineAtTrigger(item.steps, { trigger: kernel.trigger }).size
    if (trigger.cpus !== online && !fewerCpus(item.words))
      reasons.push({
        kind: 'invalid',
        check: 'cpus',
        message: `expected ${online} CPUs online, found ${trigger.cpus}`,
      })
    return reasons
  },
)
