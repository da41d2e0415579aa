import { loadRecipe } from '../kernel/recipe.ts'
import { findQemu } from '../machine/qemu/probe.ts'
import { GuestTsc } from '../machine/qemu/guest-tsc.ts'
import { QemuMachine, type QemuOptions } from '../machine/qemu/qemu-machine.ts'
import { type PreparedKernel, prepareKernels } from '../run/kernels.ts'
import type { Workspace } from '../run/workspace.ts'

/** Shipped kernels, built where the cache does not have them. */
export const realKernels = async (
  names: readonly string[],
  workspace: Workspace,
): Promise<Map<string, PreparedKernel>> =>
  prepareKernels(await Promise.all(names.map(loadRecipe)), {
    workspace,
    onBuild: () => undefined,
    signal: new AbortController().signal,
  })

/** The QEMU of this machine, without KVM. */
export const realMachine = async (
  options: Pick<QemuOptions, 'entersGuest' | 'deadlines' | 'snapshots'> = {},
): Promise<QemuMachine> => {
  const qemu = await findQemu()
  return new QemuMachine({
    binary: qemu.binary,
    tsc: new GuestTsc(qemu),
    accel: 'tcg',
    reason: 'a test',
    ...options,
  })
}
