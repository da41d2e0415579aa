import type { Outcome, Stage } from '../tdx/outcome.ts'
import { parseCmdline } from '../memory/cmdline.ts'
import { hibernationWords, isHibernationOff } from '../scenario/rig-words.ts'
import { announcedKeyids } from '../tdx/platform.ts'
import { clearedFeature, clearsVmx } from './cleared-features.ts'
import {
  type EndingInput,
  type PredictedOutcome,
  stepsBefore,
} from './predicted-ending.ts'

const early = (
  outcome: Outcome,
  stage: Stage | null,
  why: string,
): PredictedOutcome => ({ outcome, stage, errno: null, why })

/** What tdx_init() decides at boot, before anything is tried. */
export const predictEarlyEnding = ({
  item: { platform, allocations, words, steps },
  layout: { regions },
  series,
  failsRegions,
  hibernates,
}: EndingInput): PredictedOutcome | undefined => {
  const { needsX2apic, needsVmx, listBuilt, withoutKeyids } = series
  const tdx = announcedKeyids(platform)
  if (tdx === 0)
    return early(
      withoutKeyids.outcome,
      withoutKeyids.stage,
      `MSR 0x87 ${platform.keyidMsrFaults === true ? 'cannot be read' : 'announces no private KeyID'}: tdx_init() returns silently`,
    )
  if (tdx < 2)
    return early(
      'disabled',
      'checks',
      'one private KeyID is the global one: none is left for guests',
    )
  const all = [...hibernationWords({ hibernates }, words), ...words]
  if (series.excludesHibernation && hibernates && !isHibernationOff(all))
    return early(
      'disabled',
      'checks',
      'the kernel has hibernation, and nothing on the command line disables it',
    )
  if (needsX2apic && !platform.x2apic)
    return early('disabled', 'checks', 'the CPUs do not use x2APIC')
  const failing = failsRegions ? failingRegion(words) : 0
  if (listBuilt === 'at boot' && failing > 0 && failing <= regions.length)
    return early(
      'disabled',
      'regions',
      `tdx_fail_region=${failing}: that allocation fails, and the list is destroyed`,
    )
  const lost = allocations?.of === 'TDX' ? (allocations.failing ?? 0) : 0
  if (listBuilt === 'at boot' && lost > 0 && lost <= regions.length)
    return early(
      'disabled',
      'regions',
      `allocation ${lost} is that of a region: the list is destroyed`,
    )
  const feature = needsVmx ? clearedFeature(words) : undefined
  if (feature !== undefined)
    return early(
      'disabled',
      'checks',
      `the command line clears the CPU feature ${feature}, which TDX needs`,
    )
  if (needsVmx && (!platform.vmx || clearsVmx(words)))
    return early(
      'unfinished',
      'detect',
      'the CPUs have no VMX: the kernel does not begin, and says nothing',
    )
  if (needsVmx && allocations?.of === 'VMX')
    return early(
      'unfinished',
      'detect',
      `no memory for VMXON region ${allocations.failing}: the kernel warns, does without VMX, and says nothing of TDX`,
    )
  if (needsVmx && platform.vmxonFails !== undefined)
    return early(
      'unfinished',
      'detect',
      `VMXON faults on CPU ${platform.vmxonFails}: the kernel warns, and says nothing of TDX`,
    )
  if (!stepsBefore(steps, series))
    return early('unfinished', 'detect', 'nobody initialises the TDX module')
  return undefined
}

/**
 * The boot parameter of our patch 5 for 6.1; 0: no region fails. kstrtouint()
 * with base 0: 0x is hexadecimal, a leading 0 octal.
 */
const failingRegion = (words: readonly string[]): number => {
  const value = parseCmdline(words.join(' ')).findLast(
    ({ name }) => name.replaceAll('-', '_') === 'tdx_fail_region',
  )?.value
  return Number(value?.replace(/^0(?=[0-7]+$)/, '0o') ?? 0)
}
