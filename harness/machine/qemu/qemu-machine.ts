import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { InfraError } from '../../base/errors.ts'
import { nextArchive } from '../../guest/next.ts'
import type { Range } from '../../memory/range.ts'
import { encodeSrat } from '../../memory/srat.ts'
import { type Deadlines, deadlinesFor } from '../deadline.ts'
import type { BootPlan, Machine } from '../machine.ts'
import { type BootRecord, type EndReason, WITNESS_NAMES } from '../record.ts'
import {
  type Accel,
  type GuestMemory,
  type QemuPlan,
  apicIds,
  kernelCmdline,
  memoryBackends,
  qemuArgv,
} from './argv.ts'
import type { Dimm } from '../../scenario/steps.ts'
import { Boot, type Ending } from './boot.ts'
import { consolePathIn } from './console-tail.ts'
import type { GuestTsc } from './guest-tsc.ts'
import { Plugger } from './plugger.ts'
import { QemuProcess, qemuFailure } from './process.ts'
import { QmpClient } from './qmp.ts'
import { memoryFacts, snapshotFacts } from './snapshot-facts.ts'
import type { Draft, Snapshot, SnapshotStore } from './snapshot-store.ts'
import { Incoming } from './sockets.ts'

export interface QemuOptions {
  readonly binary: string
  readonly accel: Accel
  /** Why this accelerator. */
  readonly reason: string
  /** Replaces the deadlines that follow from the machine's size. */
  readonly deadlines?: Deadlines
  /** Spares guests of TCG the calibration of their TSC. */
  readonly tsc?: GuestTsc
  /** Versions of firmware and option ROMs; default: not known. */
  readonly firmware?: string
  /** Boots go on from these where they can; undefined: none does. */
  readonly snapshots?: SnapshotStore | undefined
  /** Code is put into guests of TCG that stops them less; default: none is. */
  readonly entersGuest?: boolean
  /** Look where a hung guest is; default: yes. */
  readonly diagnose?: boolean
  /** Looks at every guest that did not end by itself, before it is ended. */
  readonly lastLook?: (guest: EndedGuest) => Promise<void>
}

/** A guest whose verdict is settled, and that is still there. */
export interface EndedGuest {
  readonly plan: BootPlan
  /** Writes a range of its physical memory into a file. */
  readonly save: (range: Range, path: string) => Promise<void>
}

/** Boots kernels under a stock QEMU with the TDX module model behind it. */
export class QemuMachine implements Machine {
  /** The debugger and the module model are ours, and so is init. */
  readonly witnesses = new Set(WITNESS_NAMES)
  /** KVM has no breakpoint left for it. */
  readonly followsKexec: boolean
  readonly sharesBeginnings: boolean
  readonly #options: QemuOptions

  constructor(options: QemuOptions) {
    this.#options = options
    this.followsKexec = options.accel === 'tcg'
    this.sharesBeginnings = this.#snapshots !== undefined
  }

  /** KVM's state of a CPU is not ours to hand on. */
  get #snapshots(): SnapshotStore | undefined {
    return this.#options.accel === 'tcg' ? this.#options.snapshots : undefined
  }

  get description(): string {
    return `QEMU with ${this.#options.accel.toUpperCase()}: ${this.#options.reason}`
  }

  async boot(plan: BootPlan, signal: AbortSignal): Promise<BootRecord> {
    const start = performance.now()
    const tsc = await this.#tsc?.words()
    const cmdlineOf = (words: readonly string[]): string =>
      kernelCmdline(this.#options.accel, plan.kernel, [
        ...(tsc ?? []),
        ...words,
      ])
    const nextCmdline = plan.next && cmdlineOf(plan.next.words)
    const qemu = await this.#qemuPlan(plan, cmdlineOf(plan.words), nextCmdline)
    const asked = { plan, qemu, nextCmdline, start, signal }
    // Nothing that snapshots need may fail a boot: it goes on without.
    const { snapshot, draft: begun } = await this.#beginningOf(
      plan,
      qemu,
    ).catch((): HowToBegin => ({}))
    await using draft = begun
    const record = snapshot && (await this.#bootOnce({ ...asked, snapshot }))
    if (record) return record
    if (snapshot) await this.#snapshots?.forget(snapshot)
    const booted = await this.#bootOnce({ ...asked, draft })
    if (booted) return booted
    throw new TypeError('a boot that needs no snapshot cannot miss one')
  }

  get #tsc(): GuestTsc | undefined {
    return this.#options.accel === 'tcg' ? this.#options.tsc : undefined
  }

  async #qemuPlan(
    plan: BootPlan,
    cmdline: string,
    nextCmdline: string | undefined,
  ): Promise<QemuPlan> {
    const { binary, accel, lastLook } = this.#options
    const { directory, kernel, machine, platform } = plan
    return {
      binary,
      accel,
      cmdline,
      gdbSocket: join(directory, 'gdb'),
      qmpSocket: join(directory, 'qmp'),
      answersSocket: needsAnswers(plan)
        ? join(directory, 'answers')
        : undefined,
      machine,
      guestMemory: { kind: 'own' },
      memoryDevices: memoryDevices(plan),
      srat: await sratFile(plan),
      physicalBits: platform.physicalBits,
      vmx: turnsVmxOn(plan) ? platform.vmx : undefined,
      patchesItself: kernel.sites.patchesItself,
      kernel: kernel.bootFile,
      initramfs: await initramfsOf(plan, nextCmdline),
      consolePath: consolePathIn(directory),
      stays: lastLook !== undefined,
    }
  }

  /**
   * A snapshot to go on from, or the draft of one that is worth its time: for
   * boots that were announced, or a boot that was made before.
   */
  async #beginningOf(plan: BootPlan, qemu: QemuPlan): Promise<HowToBegin> {
    const snapshots = this.#snapshots
    if (!snapshots || plan.isWhole === true) return {}
    const { firmware = '' } = this.#options
    const facts = await snapshotFacts(plan, qemu, firmware)
    if (facts === undefined) return {}
    const key = snapshots.key(facts)
    const snapshot = await snapshots.find(key, memoryBackends(plan.machine))
    if (snapshot) return { snapshot }
    const isKnown = await snapshots.wasAskedFor(key)
    const draft =
      isKnown || plan.beginsAgain === true
        ? await snapshots.begin(key, snapshots.key(memoryFacts(plan)))
        : undefined
    return draft ? { draft } : {}
  }

  /** @returns undefined when the snapshot could not be loaded */
  async #bootOnce(beginning: Beginning): Promise<BootRecord | undefined> {
    const { plan, qemu: own, nextCmdline, signal, snapshot, draft } = beginning
    const { accel, diagnose = true } = this.#options
    await using gdb = await Incoming.listen(own.gdbSocket)
    await using qmp = await Incoming.listen(own.qmpSocket)
    await using answers =
      own.answersSocket === undefined
        ? undefined
        : await Incoming.listen(own.answersSocket)
    signal.throwIfAborted()
    const events = qmp.connection.then(socket => new QmpClient(socket))
    // Awaited only when it is needed.
    events.catch(() => undefined)
    using boot = new Boot({
      plan,
      deadlines: this.#options.deadlines ?? deadlinesFor(plan.machine),
      accel,
      plugger: new Plugger(plan.steps, events, answers?.connection),
      events,
      snapshot,
      draft,
      entersGuest: accel === 'tcg' && this.#options.entersGuest === true,
      start: beginning.start,
    })
    const guestMemory = memoryFor(snapshot, draft)
    const argv = qemuArgv({ ...own, guestMemory })
    const qemu = new QemuProcess(argv, plan.directory)
    try {
      const ending = await boot.run(qemu, gdb.connection, signal)
      signal.throwIfAborted()
      if (snapshot && !boot.begun) return undefined
      const stuck = diagnose ? await boot.stuck(ending) : []
      if (!isOver(ending))
        await withinTime(this.#lookLast(plan, ending, events), signal)
      await qemu.kill()
      if (ending.kind === 'broken') throw ending.error
      const end = await endReason({ ending, qemu, boot, events, argv })
      const { cmdline, consolePath } = own
      if (!snapshot) await this.#tsc?.learn({ cmdline, consolePath })
      return {
        end,
        stuck,
        start: {
          cmdline,
          // What starts the same machine by hand.
          argv: qemuArgv(own),
          snapshot: snapshot !== undefined,
        },
        ...boot.evidence(nextCmdline),
      }
    } catch (error) {
      if (snapshot && !boot.begun && !signal.aborted) return undefined
      throw error
    } finally {
      await qemu.kill()
      await boot.leave()
    }
  }

  async #lookLast(
    plan: BootPlan,
    { kind }: Ending,
    events: Promise<QmpClient>,
  ): Promise<void> {
    const { lastLook } = this.#options
    if (!lastLook) return
    const client = await events
    // What it does to power off belongs to the boot, too.
    if (kind === 'settled')
      await Promise.race([
        client.guestIsDown(),
        setTimeout(POWER_OFF, undefined, { ref: false }),
      ])
    await client.execute('stop')
    await lastLook({
      plan,
      save: async ({ start, end }, path) => {
        await client.execute('pmemsave', {
          val: start,
          size: end - start,
          filename: path,
        })
      },
    })
  }
}

/** Neither: the guest is booted, and that is all. */
interface HowToBegin {
  readonly snapshot?: Snapshot
  readonly draft?: Draft
}

/** One way to begin a boot. */
interface Beginning {
  readonly plan: BootPlan
  /** The machine as it is started by itself. */
  readonly qemu: QemuPlan
  readonly nextCmdline: string | undefined
  readonly start: number
  readonly signal: AbortSignal
  /** What it goes on from; undefined: its firmware starts it. */
  readonly snapshot?: Snapshot | undefined
  /** For a snapshot of it; undefined: none is taken. */
  readonly draft?: Draft | undefined
}

const memoryFor = (
  snapshot: Snapshot | undefined,
  draft: Draft | undefined,
): GuestMemory =>
  snapshot
    ? { kind: 'snapshot', folder: snapshot.memory }
    : { kind: draft ? 'shared' : 'own' }

/**
 * A QEMU that is told to stop while its guest powers off may never answer: seen
 * once with 7.2. Whoever waits must be able to give up.
 *
 * @throws InfraError when it takes too long, or the reason of the signal
 */
const withinTime = async (
  looked: Promise<void>,
  signal: AbortSignal,
): Promise<void> => {
  const over = new AbortController()
  const limit = AbortSignal.any([signal, over.signal])
  const late = setTimeout(LAST_LOOK, undefined, { signal: limit }).then(() => {
    throw new InfraError(
      'LAST_LOOK',
      `expected QEMU to give the memory of a guest that has ended within ${LAST_LOOK / 1000} s, it did not`,
    )
  })
  try {
    await Promise.race([looked, late])
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    over.abort()
    // Its rejection has no reader any more; neither has that of the look.
    late.catch(() => undefined)
    looked.catch(() => undefined)
  }
}

const LAST_LOOK = 60_000

/** Milliseconds a guest may take to power off before it is looked at. */
const POWER_OFF = 20_000

/** There is no guest any more, or nobody wants to know. */
const isOver = ({ kind }: Ending): boolean =>
  kind === 'gone' || kind === 'broken' || kind === 'interrupted'

/** With what a kexec step starts behind it. */
const initramfsOf = async (
  { initramfs, next, kernel, directory }: BootPlan,
  cmdline = '',
): Promise<string> => {
  if (!next) return initramfs
  if (kernel.bzImage === undefined)
    throw new InfraError(
      'NO_BZIMAGE',
      `kernel ${kernel.name} has no bzImage, and kexec_file_load() starts nothing else`,
    )
  const path = join(directory, 'initramfs-with-next')
  const files = {
    kernel: await readFile(kernel.bzImage),
    initramfs: await readFile(next.initramfs),
    cmdline,
  }
  await writeFile(path, [await readFile(initramfs), nextArchive(files)])
  return path
}

/**
 * A SRAT of the scenario goes to QEMU as one of its ACPI tables: the kernel
 * finds it where firmware puts it, whatever it was built with. (Upgrading
 * tables from the initramfs needs CONFIG_ACPI_TABLE_UPGRADE, and taints.)
 */
const sratFile = async ({
  machine,
  directory,
}: BootPlan): Promise<string | undefined> => {
  const { srat } = machine.firmware
  if (!srat) return undefined
  const path = join(directory, 'srat')
  await writeFile(path, encodeSrat(srat, apicIds(machine)))
  return path
}

/** Kernels that do not are given the CPU they always had. */
const turnsVmxOn = ({ kernel }: BootPlan): boolean =>
  kernel.sites.sites.some(({ kind }) => kind === 'vmxon')

const memoryDevices = ({ steps }: BootPlan): Dimm[] =>
  steps.flatMap(step =>
    step.kind === 'plug' && step.dimm.device === 'virtio-mem'
      ? [step.dimm]
      : [],
  )

/** Somebody in the guest waits for the rig. */
const needsAnswers = ({ steps }: BootPlan): boolean =>
  steps.some(
    ({ kind }) =>
      kind === 'plug' || kind === 'unplug' || kind === 'machine check',
  )

interface Ended {
  readonly ending: Ending
  readonly qemu: QemuProcess
  readonly boot: Boot
  readonly events: Promise<QmpClient>
  readonly argv: readonly string[]
}

/** @throws InfraError when it was QEMU that ended, and not the guest */
const endReason = async ({
  ending,
  qemu,
  boot,
  events: connected,
  argv,
}: Ended): Promise<EndReason> => {
  if (ending.kind === 'interrupted' || ending.kind === 'broken')
    throw new TypeError(`a boot that was ${ending.kind} has no record`)
  if (ending.kind !== 'gone') return ending.kind
  const exit = await qemu.exit
  // Without a debugger it never ran the guest.
  if (exit.exitCode !== 0 || !boot.attached) throw qemuFailure(exit, argv)
  const events = await connected
  await events.closed
  if (events.endedBySignal)
    throw new InfraError(
      'QEMU_SIGNALLED',
      `somebody ended QEMU with a signal: ${exit.stderr || 'it said nothing'}`,
    )
  return events.guestReset ? 'reset' : 'exited'
}
