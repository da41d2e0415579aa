import { InfraError } from '../base/errors.ts'
import { GuestTsc } from '../machine/qemu/guest-tsc.ts'
import type { Qemu } from '../machine/qemu/probe.ts'
import { QemuMachine } from '../machine/qemu/qemu-machine.ts'
import type { Reproduce } from '../report/reporter.ts'
import { type AccelChoice, chooseAccelerator } from '../run/accelerator.ts'
import type { PreparedKernel } from '../run/kernels.ts'
import type { Workspace } from '../run/workspace.ts'
import { type Bench, bootCell, faultOf, reproduceNight } from './bench.ts'
import type { KernelShelf } from './kernel-shelf.ts'

export interface QemuBenchOptions {
  /** Of the worker. */
  readonly name: string
  readonly qemu: Qemu
  readonly accel: AccelChoice
  readonly workspace: Workspace
  readonly kernels: KernelShelf
  readonly reproduce: Reproduce
  readonly onStep: (text: string) => void
}

/** Guests under QEMU on this machine. */
export const qemuBench = (options: QemuBenchOptions): Bench => {
  const { name, qemu, accel, workspace, kernels, onStep } = options
  const tsc = new GuestTsc(qemu)
  let machine: Promise<QemuMachine> | undefined
  const machineFor = async (
    kernel: PreparedKernel,
    signal: AbortSignal,
  ): Promise<QemuMachine> => {
    machine ??= chooseAccelerator(accel, {
      qemu,
      board: qemu.board,
      kernel,
      workspace,
      onStep,
      signal,
    }).then(choice => new QemuMachine({ binary: qemu.binary, ...choice, tsc }))
    try {
      return await machine
    } catch (error) {
      machine = undefined
      throw error
    }
  }
  return {
    boot: async (order, signal) => {
      try {
        const { key } = order.begun
        if (key === null)
          throw new InfraError('KERNEL_COPY', 'the kernel was not built')
        const kernel = await kernels.prepared(order.begun)
        return await bootCell({
          order,
          name,
          board: qemu.board,
          machine: await machineFor(kernel, signal),
          kernel,
          workspace,
          signal,
          reproduce: reproduceNight(
            options.reproduce,
            kernel,
            order.begun.origin === null,
          ),
        })
      } catch (error) {
        return faultOf(name, error, signal)
      }
    },
  }
}
