import { linuxVersion } from './recognise.ts'

/** Who calls the initialisation in kernels of kernel.org. */
export type Caller =
  /** Nobody in the tree: it waits for KVM, or for a module of somebody's own. */
  | 'nobody'
  /** KVM, when kvm_intel is loaded with `tdx=1`. */
  | 'kvm'
  /** The kernel itself, as it boots (`subsys_initcall(tdx_enable)`). */
  | 'kernel'

/** By the first version, from the newest to the oldest. */
const CALLERS: readonly (readonly [number, Caller])[] = [
  [7_001, 'kernel'],
  // tdx_bringup() in arch/x86/kvm/vmx/tdx.c.
  [6_016, 'kvm'],
  [0, 'nobody'],
]

/** The first version whose tree initialises TDX, for advice. */
export const FIRST_WITH_CALLER = '6.16'

/** @returns undefined for what is no version */
export const callerIn = (release: string | null): Caller | undefined => {
  const version = linuxVersion(release)
  return version === undefined
    ? undefined
    : CALLERS.find(([first]) => version >= first)?.[1]
}
