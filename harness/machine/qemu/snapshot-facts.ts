import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { memoized, sha256OfFile } from '../../base/memo.ts'
import { setupDataOf } from '../../scenario/machine-spec.ts'
import type { BootPlan } from '../machine.ts'
import { type QemuPlan, memoryBackends, qemuArgv } from './argv.ts'

/**
 * Everything that a guest has to do with before it makes its first SEAMCALL:
 * two boots with the same facts have done the same until then. A platform's
 * module, CMRs and faults are not among them, the module was not asked yet.
 *
 * @param firmware what the machine is started by, beside QEMU's own program
 * @returns undefined where no snapshot can be taken: the kernel never comes to
 *   such a place, or a device keeps memory of its own
 */
export const snapshotFacts = async (
  { kernel, machine, platform, allocations }: BootPlan,
  plan: QemuPlan,
  firmware: string,
): Promise<unknown> => {
  const { sites, smpInit, patches, x2apicBit } = kernel.sites
  const calls = sites.filter(({ kind }) => !kind.endsWith('-msr'))
  if (calls.length === 0 || smpInit === undefined) return undefined
  if ((plan.memoryDevices ?? []).length > 0) return undefined
  const { keyids, keyidMsrFaults, seamretClearsVmcs, x2apic } = platform
  return {
    // Where files lie is another matter in each boot.
    argv: qemuArgv({
      ...plan,
      guestMemory: { kind: 'own' },
      kernel: await contentOf(plan.kernel),
      initramfs: await shortContentOf(plan.initramfs),
      srat: plan.srat && (await shortContentOf(plan.srat)),
      consolePath: '',
      gdbSocket: '',
      qmpSocket: '',
      answersSocket: plan.answersSocket && 'answers',
    }),
    qemu: await contentOf(plan.binary),
    firmware,
    // A snapshot goes with the boot of the host: nobody has made sure that it
    // is on the disk, and TSCs run at another speed after it.
    host: await readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    // vmlinux has the symbols of the file that is started.
    symbols: await contentOf(kernel.image.path),
    patches: patches.map(({ physical, bytes }) => [
      physical,
      Buffer.from(bytes).toString('hex'),
    ]),
    sites: sites.map(({ kind, form, address }) => [
      kind,
      form,
      String(address),
    ]),
    x2apicBit: x2apicBit && [String(x2apicBit.address), x2apicBit.mask],
    map: machine.firmware.e820,
    setupData: setupDataOf(machine),
    answers: { keyids, keyidMsrFaults, seamretClearsVmcs, x2apic },
    // Calls of the kernel that were made in its stead.
    followed: allocations?.of,
  }
}

/** What guests have in common whose memories may be alike. */
export const memoryFacts = ({ machine }: BootPlan): unknown => [
  'memory',
  machine.cpus,
  memoryBackends(machine),
]

/** Files that stay are read once. */
const contentOf = (path: string): Promise<string> =>
  memoized(path, 'sha256', sha256OfFile)

const shortContentOf = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
