import type { PredictionOptions } from '../judge/prediction.ts'
import type { Lineage } from '../tdx/host.ts'

/** Kernels that ship, and do what those of a lineage do. */
export const KERNELS: Readonly<Record<Lineage, string>> = {
  v6: 'v6-6.1',
  upstream: 'upstream-6.12',
}

/**
 * What a kernel of ours is to the model, without a look at it: our patches
 * for v6 take tdx_fail_region=.
 */
export const SHIPPED: ReadonlyMap<string, PredictionOptions> = new Map([
  [KERNELS.v6, { lineage: 'v6', failsRegions: true }],
  [KERNELS.upstream, { lineage: 'upstream' }],
  ['upstream-6.12-plain', { lineage: 'upstream' }],
])
