import type { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { InfraError } from '../../base/errors.ts'

import type { Debugger } from '../../emulate/debugger.ts'
import { Emulation } from '../../emulate/emulation.ts'
import type { KernelImage } from '../../kernel/elf.ts'
import { type Deadlines, Watchdog, deadlinesFor } from '../deadline.ts'
import type {
  BootPlan,
  BootRecord,
  EndReason,
  Machine,
  StuckCpu,
} from '../machine.ts'
import { type Accel, kernelCmdline, qemuArgv } from './argv.ts'
import { ConsoleSink } from './console-sink.ts'
import { GdbClient } from './gdb.ts'
import { QemuProcess, qemuFailure } from './process.ts'
import { QmpEvents } from './qmp.ts'
import { Incoming } from './sockets.ts'

export interface QemuOptions {
  readonly binary: string
  readonly accel: Accel
  /** Why this accelerator. */
  readonly reason: string
  /** Replaces the deadlines that follow from the machine's size. */
  readonly deadlines?: Deadlines
  /** Look where a hung guest is; default: yes. */
  readonly diagnose?: boolean
}

/** A QEMU that does not even answer its debugger is not waited for. */
const FREEZE_TIMEOUT = 5_000

/** What ended the wait for a boot, before its evidence is collected. */
type Ending =
  | { readonly kind: 'settled' | 'silence' | 'deadline' | 'interrupted' }
  | { readonly kind: 'gone' }
  | { readonly kind: 'broken'; readonly error: unknown }

/** Boots kernels under a stock QEMU with the TDX module model behind it. */
export class QemuMachine implements Machine {
  readonly #options: QemuOptions

  constructor(options: QemuOptions) {
    this.#options = options
  }

  get description(): string {
    return `QEMU with ${this.#options.accel.toUpperCase()}: ${this.#options.reason}`
  }

  async boot(plan: BootPlan, signal: AbortSignal): Promise<BootRecord> {
    signal.throwIfAborted()
    const { accel, binary } = this.#options
    const start = performance.now()
    const gdbSocket = join(plan.directory, 'gdb')
    const qmpSocket = join(plan.directory, 'qmp')
    const cmdline = kernelCmdline(accel, plan.words)
    const argv = qemuArgv({
      binary,
      accel,
      machine: plan.machine,
      physicalBits: plan.platform.physicalBits,
      vmlinux: plan.kernel.image.path,
      initramfs: plan.kernel.initramfs,
      cmdline,
      gdbSocket,
      qmpSocket,
    })
    await using gdb = await Incoming.listen(gdbSocket)
    await using qmp = await Incoming.listen(qmpSocket)
    using sink = new ConsoleSink(plan.directory, start)
    const boot = new Boot(plan, this.#deadlines(plan), sink)
    const qemu = new QemuProcess(argv, plan.directory, chunk => {
      boot.console(chunk)
    })
    try {
      const events = qmp.connection.then(socket => new QmpEvents(socket))
      const ending = await boot.run(qemu, gdb.connection, accel, signal)
      signal.throwIfAborted()
      const stuck =
        this.#options.diagnose === false ? [] : await boot.stuck(ending)
      await qemu.kill()
      if (ending.kind === 'broken') throw ending.error
      const exit = await qemu.exit
      if (ending.kind === 'gone' && exit.exitCode !== 0)
        throw qemuFailure(exit, argv)
      const reset = ending.kind === 'gone' && (await events).guestReset
      sink.reader.end()
      return {
        end: endReason(ending, reset),
        facts: sink.reader.facts(),
        cmdline,
        seamcalls: boot.emulation?.trace ?? [],
        regions: boot.emulation?.regions,
        tdmrs: boot.emulation?.tdmrs,
        stuck,
        timing: {
          total: performance.now() - start,
          firstByte: sink.firstByte,
        },
        consolePath: sink.consolePath,
        timesPath: sink.timesPath,
        argv,
        tail: sink.reader.tail,
      }
    } finally {
      await qemu.kill()
    }
  }

  #deadlines({ machine }: BootPlan): Deadlines {
    return this.#options.deadlines ?? deadlinesFor(machine)
  }
}

const endReason = (ending: Ending, reset: boolean): EndReason => {
  switch (ending.kind) {
    case 'gone':
      return reset ? 'reset' : 'exited'
    case 'settled':
    case 'silence':
    case 'deadline':
      return ending.kind
    case 'broken':
    case 'interrupted':
      throw new TypeError(`a boot that was ${ending.kind} has no record`)
  }
}

/** One boot under way: whatever happens first ends it. */
class Boot {
  readonly #plan: BootPlan
  readonly #deadlines: Deadlines
  readonly #sink: ConsoleSink
  #end: (ending: Ending) => void = () => undefined
  #touch: () => void = () => undefined
  #guest: Debugger | undefined
  emulation: Emulation | undefined

  constructor(plan: BootPlan, deadlines: Deadlines, sink: ConsoleSink) {
    this.#plan = plan
    this.#deadlines = deadlines
    this.#sink = sink
  }

  console(chunk: Buffer): void {
    this.#sink.push(chunk)
    this.#touch()
    if (this.#sink.reader.settled) this.#end({ kind: 'settled' })
  }

  async run(
    qemu: QemuProcess,
    connection: Promise<Socket>,
    accel: Accel,
    signal: AbortSignal,
  ): Promise<Ending> {
    const ended = new Promise<Ending>(resolve => {
      this.#end = resolve
    })
    const onAbort = (): void => {
      this.#end({ kind: 'interrupted' })
    }
    signal.addEventListener('abort', onAbort, { once: true })
    using watchdog = new Watchdog(this.#deadlines, kind => {
      this.#end({ kind })
    })
    this.#touch = () => {
      watchdog.touch()
    }
    void qemu.exit.then(() => {
      this.#end({ kind: 'gone' })
    })
    this.#emulate(connection, accel).catch((error: unknown) => {
      // QEMU is ending: its exit tells more than the lost connection.
      const lost = error instanceof InfraError && error.code === 'GDB_CLOSED'
      if (!lost) this.#end({ kind: 'broken', error })
    })
    try {
      return await ended
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async #emulate(connection: Promise<Socket>, accel: Accel): Promise<void> {
    const { kernel, platform, machine } = this.#plan
    this.#guest = await GdbClient.attach(await connection, machine.cpus)
    this.emulation = new Emulation({
      guest: this.#guest,
      kernel: kernel.sites,
      platform,
      lateBreakpoints: accel === 'kvm',
      onActivity: () => {
        this.#touch()
      },
    })
    await this.emulation.run()
  }

  /** Where every vCPU is, when the guest gave no sign of life. */
  async stuck(ending: Ending): Promise<StuckCpu[]> {
    if (ending.kind !== 'silence' && ending.kind !== 'deadline') return []
    const guest = this.#guest
    if (!guest || !this.emulation) return []
    const frozen = await Promise.race([
      this.emulation.freeze().then(() => true),
      setTimeout(FREEZE_TIMEOUT, false),
    ])
    if (!frozen) return []
    return Promise.all(
      Array.from({ length: guest.cpus }, (_, cpu) =>
        whereIs(guest, cpu, this.#plan.kernel.image),
      ),
    )
  }
}

const whereIs = async (
  guest: Debugger,
  cpu: number,
  image: KernelImage,
): Promise<StuckCpu> => {
  const { rip } = await guest.registers(cpu)
  return { cpu, rip, symbol: image.symbolize(rip) }
}
