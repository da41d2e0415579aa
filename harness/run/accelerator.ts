import { access, constants, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { InfraError, messageOf } from '../base/errors.ts'
import { cacheRoot } from '../base/paths.ts'
import { MIB } from '../base/units.ts'
import type { Accel } from '../machine/qemu/argv.ts'
import type { Qemu } from '../machine/qemu/probe.ts'
import { QemuMachine } from '../machine/qemu/qemu-machine.ts'
import { caseBody } from '../scenario/case.ts'
import { cellSchema } from '../scenario/schema.ts'
import type { PreparedKernel } from './kernels.ts'
import type { Workspace } from './workspace.ts'

/** What boots the guests, and why. */
export interface Accelerator {
  readonly accel: Accel
  readonly reason: string
}

/** KVM is proven in any case; `auto` takes TCG when it does not work. */
export type AccelChoice = Accel | 'auto'

/** A kernel that KVM really runs needs a second. */
const PROOF_DEADLINE = 10_000
const KVM = '/dev/kvm'

/**
 * Chooses KVM when it is proven to do the work, else TCG. A /dev/kvm that opens
 * proves nothing: on some hosts it creates machines that never run Linux. So
 * the proof is the work itself, a small machine that initialises TDX; its
 * answer is kept until the host boots again.
 *
 * @param kernel one that can initialise TDX; without it nothing can be proven
 */
export const chooseAccelerator = async (
  choice: AccelChoice,
  qemu: Qemu,
  kernel: PreparedKernel | undefined,
  workspace: Workspace,
  onStep: (text: string) => void,
  signal: AbortSignal,
): Promise<Accelerator> => {
  if (choice === 'tcg') return { accel: 'tcg', reason: 'as asked for' }
  const answer = await kvmOrTcg(qemu, kernel, workspace, onStep, signal)
  if (choice === 'kvm' && answer.accel !== 'kvm')
    throw new InfraError(
      'NO_KVM',
      `expected KVM to run guests, but ${answer.reason}: use --accel tcg`,
    )
  return answer
}

const kvmOrTcg = async (
  qemu: Qemu,
  kernel: PreparedKernel | undefined,
  workspace: Workspace,
  onStep: (text: string) => void,
  signal: AbortSignal,
): Promise<Accelerator> => {
  try {
    await access(KVM, constants.R_OK | constants.W_OK)
  } catch {
    return { accel: 'tcg', reason: `${KVM} cannot be opened` }
  }
  const known = await remembered(qemu)
  if (known) return known
  if (!kernel)
    return { accel: 'tcg', reason: 'no kernel of this run can prove KVM' }
  onStep(
    `find out whether KVM runs guests here, for ${PROOF_DEADLINE / 1000} s at most`,
  )
  const answer = await prove(qemu, kernel, workspace, signal)
  // What was interrupted proves nothing.
  signal.throwIfAborted()
  await remember(qemu, answer)
  return answer
}

const prove = async (
  { binary }: Qemu,
  kernel: PreparedKernel,
  workspace: Workspace,
  signal: AbortSignal,
): Promise<Accelerator> => {
  const machine = new QemuMachine({
    binary,
    accel: 'kvm',
    reason: 'proof',
    deadlines: { silence: PROOF_DEADLINE, total: PROOF_DEADLINE },
    diagnose: false,
  })
  const cell = cellSchema.parse({
    name: 'proof',
    why: 'proof',
    machine: { memory: 512 * MIB, cpus: 1 },
  })
  const proof = caseBody(cell)
  if ('problems' in proof) throw new TypeError('the proof is no valid case')
  try {
    const record = await machine.boot(
      {
        kernel,
        ...proof.body,
        initramfs: kernel.initramfs,
        directory: await workspace.directory('kvm-proof'),
      },
      signal,
    )
    return record.facts.tdx.outcome === 'initialized'
      ? { accel: 'kvm', reason: 'a small machine initialised TDX under KVM' }
      : {
          accel: 'tcg',
          reason: `${KVM} opens, but runs no guest`,
        }
  } catch (error) {
    return { accel: 'tcg', reason: `KVM does not work: ${messageOf(error)}` }
  }
}

const memoryPath = (): string => join(cacheRoot(), 'accelerator.json')

/** Identifies this boot of the host and the QEMU that was tried. */
const situation = async (qemu: Qemu): Promise<string> => {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
  return `${boot.trim()} ${qemu.binary} ${qemu.version}`
}

const remembered = async (qemu: Qemu): Promise<Accelerator | undefined> => {
  try {
    const data = JSON.parse(await readFile(memoryPath(), 'utf8')) as Partial<
      Record<'situation' | 'accel' | 'reason', unknown>
    >
    const { accel, reason } = data
    if (data.situation !== (await situation(qemu))) return undefined
    return (accel === 'kvm' || accel === 'tcg') && typeof reason === 'string'
      ? {
          accel,
          reason: `${reason} (remembered)`,
        }
      : undefined
  } catch {
    return undefined
  }
}

const remember = async (qemu: Qemu, answer: Accelerator): Promise<void> => {
  await mkdir(cacheRoot(), { recursive: true })
  await writeFile(
    memoryPath(),
    JSON.stringify({ situation: await situation(qemu), ...answer }),
  )
}
