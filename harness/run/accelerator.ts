import { access, constants } from 'node:fs/promises'
import { InfraError, RigError, messageOf, systemCode } from '../base/errors.ts'
import { sizeText } from '../base/units.ts'
import { type UntilReboot, untilReboot } from '../base/until-reboot.ts'
import type { Board } from '../board/index.ts'
import type { Accel } from '../machine/qemu/argv.ts'
import type { Qemu } from '../machine/qemu/probe.ts'
import { QemuMachine } from '../machine/qemu/qemu-machine.ts'
import { MINIMUM_MEMORY } from '../memory/minimum.ts'
import { buildScenario, isRefused } from '../scenario/build.ts'
import { evidenceOf } from './evidence.ts'
import type { PreparedKernel } from './kernels.ts'
import type { Workspace } from './workspace.ts'

/** What boots the guests, and why. */
export interface Accelerator {
  readonly accel: Accel
  readonly reason: string
}

/** KVM is proven in any case; `auto` takes TCG when it does not work. */
export type AccelChoice = Accel | 'auto'

/** What a proof of KVM needs. */
export interface ProofOptions {
  readonly qemu: Qemu
  readonly board: Board
  /** One that can initialise TDX; without it nothing can be proven. */
  readonly kernel: PreparedKernel | undefined
  readonly workspace: Pick<Workspace, 'directory'>
  readonly onStep: (text: string) => void
  readonly signal: AbortSignal
  /** Default: /dev/kvm. */
  readonly device?: string
}

/** A kernel that KVM really runs needs a second. */
const PROOF_DEADLINE = 10_000
const KVM = '/dev/kvm'

/**
 * Chooses KVM when it is proven to do the work, else TCG. A /dev/kvm that opens
 * proves nothing: on some hosts it creates machines that never run Linux. So
 * the proof is the work itself, a small machine that initialises TDX; its
 * answer is kept until the host boots again.
 */
export const chooseAccelerator = async (
  choice: AccelChoice,
  options: ProofOptions,
): Promise<Accelerator> => {
  if (choice === 'tcg') return { accel: 'tcg', reason: 'as asked for' }
  const answer = await kvmOrTcg(options)
  if (choice === 'kvm' && answer.accel !== 'kvm')
    throw new InfraError(
      'NO_KVM',
      `expected KVM to run guests, but ${answer.reason}: use --accel tcg`,
    )
  return answer
}

/**
 * What is known without a test boot: KVM cannot be opened, or a run of this
 * boot of the host has tried it. Undefined: the next run will try it.
 *
 * @param device default: /dev/kvm
 */
export const knownAccelerator = async (
  qemu: Qemu,
  device = KVM,
): Promise<Accelerator | undefined> => {
  try {
    await access(device, constants.R_OK | constants.W_OK)
  } catch {
    return { accel: 'tcg', reason: `${device} cannot be opened` }
  }
  return remembered(qemu)
}

const kvmOrTcg = async (options: ProofOptions): Promise<Accelerator> => {
  const { qemu, kernel, onStep, signal, device } = options
  const known = await knownAccelerator(qemu, device)
  if (known) return known
  if (!kernel)
    return { accel: 'tcg', reason: 'no kernel of this run can prove KVM' }
  onStep(
    `testing whether KVM can run guests (up to ${PROOF_DEADLINE / 1000} s)`,
  )
  try {
    const { answer, lasting } = await proveKvm({ ...options, kernel })
    // What was interrupted proves nothing.
    signal.throwIfAborted()
    if (lasting) await memory(qemu).keep(answer)
    return answer
  } catch (error) {
    const ours = error instanceof RigError || systemCode(error) !== undefined
    if (signal.aborted || !ours) throw error
    // It says nothing about KVM: this run uses TCG, and the next one asks again.
    return {
      accel: 'tcg',
      reason: `KVM could not be tried: ${messageOf(error)}`,
    }
  }
}

/** QEMU itself says that it cannot use KVM; it fails for other reasons, too. */
const isRefusal = (error: unknown): error is InfraError =>
  error instanceof InfraError &&
  (error.code === 'GDB_REFUSED' ||
    (error.code === 'QEMU_FAILED' && /exit code .*kvm/is.test(error.message)))

interface Proof {
  readonly answer: Accelerator
  /** It is an answer of KVM, and not of this kernel: it holds until a reboot. */
  readonly lasting: boolean
}

/**
 * Boots a small machine under KVM.
 *
 * @throws whatever is no answer of KVM, such as a full disk
 */
const proveKvm = async ({
  qemu,
  board,
  kernel,
  workspace,
  signal,
}: ProofOptions & {
  readonly kernel: PreparedKernel
}): Promise<Proof> => {
  const machine = new QemuMachine({
    binary: qemu.binary,
    accel: 'kvm',
    reason: 'proof',
    deadlines: { silence: PROOF_DEADLINE, total: PROOF_DEADLINE },
    diagnose: false,
  })
  const smallest = buildScenario(
    { machine: { memory: sizeText(MINIMUM_MEMORY.machine), cpus: 1 } },
    board,
  )
  if (isRefused(smallest)) throw new TypeError('the test is no valid case')
  try {
    const record = await machine.boot(
      {
        kernel,
        ...smallest.body,
        initramfs: kernel.initramfs,
        directory: await workspace.directory('kvm-proof'),
      },
      signal,
    )
    const { facts } = await evidenceOf(record)
    if (facts.tdx.outcome === 'initialized') return proof('kvm', PROVEN, true)
    return facts.kernel === null
      ? proof('tcg', `${KVM} opens, but runs no guest`, true)
      : proof('tcg', `TDX was not initialised in the test of KVM`, false)
  } catch (error) {
    if (!isRefusal(error)) throw error
    return proof('tcg', `KVM does not work: ${error.message}`, true)
  }
}

const PROVEN = 'a small machine initialised TDX under KVM'

const proof = (accel: Accel, reason: string, lasting: boolean): Proof => ({
  answer: { accel, reason },
  lasting,
})

const memory = ({ binary, version }: Qemu): UntilReboot =>
  untilReboot('accelerator.json', `${binary} ${version}`)

const remembered = async (qemu: Qemu): Promise<Accelerator | undefined> => {
  const { accel, reason } = ((await memory(qemu).recall()) ?? {}) as Partial<
    Record<'accel' | 'reason', unknown>
  >
  return (accel === 'kvm' || accel === 'tcg') && typeof reason === 'string'
    ? { accel, reason: `${reason} (remembered)` }
    : undefined
}
