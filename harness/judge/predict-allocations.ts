import type { AllocationPlan } from '../scenario/case.ts'
import type { Layout } from '../memory/predict.ts'
import { ERRNO } from '../tdx/errno.ts'
import type { Stage } from '../tdx/outcome.ts'
import { type Failure, failure } from './failure.ts'

/**
 * What the TDX host support allocates, in its order, when nothing fails before:
 * each region, the TDMRs in one piece, the PAMTs of each TDMR, and the array of
 * their addresses (build_tdx_memlist(), alloc_tdmr_list(), tdmr_set_up_pamt(),
 * config_tdx_module() of arch/x86/virt/vmx/tdx/tdx.c). So do all series.
 */
const allocationStages = ({
  regions,
  tdmrs,
}: Pick<Layout, 'regions' | 'tdmrs'>): Stage[] => [
  ...regions.map((): Stage => 'regions'),
  'tdmrs',
  ...tdmrs.map((): Stage => 'pamt'),
  'sys-config',
]

/** What an allocation that fails does to the initialisation. */
export const allocationFailures = (
  allocations: AllocationPlan | undefined,
  layout: Pick<Layout, 'regions' | 'tdmrs'>,
): Failure[] => {
  const failing = allocations?.of === 'TDX' ? allocations.failing : undefined
  if (failing === undefined) return []
  const stage = allocationStages(layout)[failing - 1]
  return stage === undefined
    ? []
    : [failure(stage, ERRNO.ENOMEM, `allocation ${failing} fails`)]
}
