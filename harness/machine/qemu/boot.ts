import type { Socket } from 'node:net'
import { readFile } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import { InfraError, messageOf } from '../../base/errors.ts'
import { findAllocationSites } from '../../emulate/allocation-sites.ts'
import type { Debugger } from '../../emulate/debugger.ts'
import { Emulation } from '../../emulate/emulation.ts'
import type { GivenMap } from '../../emulate/inject-e820.ts'
import type { EarlyNotes, KernelSeen } from '../../emulate/kernel-seen.ts'
import { findResetLoops } from '../../emulate/page-resets.ts'
import { Ledger, type LedgerRecord } from '../../emulate/ledger.ts'
import { setupDataOf } from '../../scenario/machine-spec.ts'
import type { Fault } from '../../tdx/fault.ts'
import { NEWEST_SERIES } from '../../tdx/series/index.ts'
import { type Deadlines, Watchdog } from '../deadline.ts'
import type { BootPlan } from '../machine.ts'
import type {
  BootRecord,
  MemoryWitness,
  ModuleWitness,
  StuckCpu,
} from '../record.ts'
import { type Accel, memoryBackends } from './argv.ts'
import { ConsoleTail } from './console-tail.ts'
import { GdbClient } from './gdb.ts'
import type { Plugger } from './plugger.ts'
import type { QemuProcess } from './process.ts'
import type { QmpClient } from './qmp.ts'
import { loadGuest, saveGuest } from './snapshot.ts'
import type { Draft, Snapshot } from './snapshot-store.ts'

/** What ended the wait for a boot, before its evidence is collected. */
export type Ending =
  | { readonly kind: 'settled' | 'interrupted' }
  | { readonly kind: 'silence' | 'deadline' | 'unanswered' }
  | { readonly kind: 'gone' }
  | { readonly kind: 'broken'; readonly error: unknown }

const LOST: ReadonlySet<string> = new Set(['GDB_CLOSED', 'QMP_CLOSED'])

/** A QEMU that does not even answer its debugger is not waited for. */
const DIAGNOSIS_TIMEOUT = 5_000

/** Less than a guest may be silent: it is, while it is saved. */
const SAVE_TIMEOUT = 20_000

/** A QEMU that starts connects within milliseconds. */
const CONNECT_TIMEOUT = 30_000

/** What a boot goes through, in this order. */
const STAGES = ['kernel boots', 'TDX is initialised', 'steps'] as const

/** What a boot needs. */
export interface BootOptions {
  readonly plan: BootPlan
  readonly deadlines: Deadlines
  readonly accel: Accel
  readonly plugger: Plugger
  readonly events: Promise<QmpClient>
  /** Where the guest goes on from; undefined: it begins at its firmware. */
  readonly snapshot: Snapshot | undefined
  /** For a snapshot of this guest; undefined: none is taken. */
  readonly draft: Draft | undefined
  /** Code may be put into the guest, to stop it less. */
  readonly entersGuest: boolean
  /** performance.now() when it began. */
  readonly start: number
}

/** A guest that stands where it is saved. */
interface Saving {
  readonly qmp: QmpClient
  readonly pid: number
  readonly draft: Draft
  readonly seen: EarlyNotes
}

/** One boot under way: whatever happens first ends it. */
export class Boot {
  readonly console: ConsoleTail
  readonly #plan: BootPlan
  readonly #deadlines: Deadlines
  readonly #accel: Accel
  readonly #plugger: Plugger
  readonly #events: Promise<QmpClient>
  readonly #snapshot: Snapshot | undefined
  readonly #draft: Draft | undefined
  readonly #entersGuest: boolean
  readonly #start: number
  #qemu: QemuProcess | undefined
  #begun = false
  readonly #leaving = new AbortController()
  #saved: Promise<void> = Promise.resolve()
  #end: (ending: Ending) => void = () => undefined
  #touch: () => void = () => undefined
  #stage = -1
  #guest: Debugger | undefined
  #emulation: Emulation | undefined
  #ledger: Ledger | undefined
  /** The line of the console behind which the boot was ended early. */
  #stoppedAt: number | null = null

  constructor(options: BootOptions) {
    const { plan, plugger, start, snapshot } = options
    this.#plan = plan
    this.#deadlines = options.deadlines
    this.#accel = options.accel
    this.#plugger = plugger
    this.#events = options.events
    this.#snapshot = snapshot
    this.#draft = options.draft
    this.#entersGuest = options.entersGuest
    this.#start = start
    this.console = new ConsoleTail({
      directory: plan.directory,
      start,
      beginning: snapshot?.console,
      onBytes: () => {
        this.#touch()
        const { steps } = this.console.reader.guest
        this.#tell(steps.length > 0 ? 'steps' : 'kernel boots')
        const pamt = (): bigint | undefined => this.#firstPamt
        this.#plugger.update(steps, pamt).catch(this.#broken)
        const { settled, initializedAt } = this.console.reader
        if (!settled && this.#plan.stopsAtOutcome === true)
          this.#stoppedAt ??= initializedAt
        if (settled || this.#stoppedAt !== null) this.#end({ kind: 'settled' })
      },
      onError: error => {
        this.#end({ kind: 'broken', error: consoleFailure(error) })
      },
    })
  }

  [Symbol.dispose](): void {
    this.console[Symbol.dispose]()
  }

  /** Where it begins; undefined: the module was offered none. */
  get #firstPamt(): bigint | undefined {
    return this.#emulation?.kernels[0]?.tdmrs?.[0]?.pamt[0].base
  }

  /** QEMU's debugger answered: the guest could run. */
  get attached(): boolean {
    return this.#guest !== undefined
  }

  /** The guest may have run: what became of it is its own doing. */
  get begun(): boolean {
    return this.#begun
  }

  async run(
    qemu: QemuProcess,
    connection: Promise<Socket>,
    signal: AbortSignal,
  ): Promise<Ending> {
    this.#qemu = qemu
    const ended = new Promise<Ending>(resolve => {
      this.#end = resolve
    })
    const onAbort = (): void => {
      this.#end({ kind: 'interrupted' })
    }
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    using watchdog = new Watchdog(this.#deadlines, kind => {
      this.#end({ kind })
    })
    this.#touch = () => {
      watchdog.touch()
    }
    void qemu.exit.then(() => {
      // The last words may not have been read: a guest that has done its steps
      // powers off within a look at the console and the next.
      this.console.read()
      this.#end({ kind: 'gone' })
    })
    this.#emulate(connection).catch(this.#broken)
    try {
      return await ended
    } finally {
      // A guest that is being saved is not needed any more.
      this.#leaving.abort()
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** The console goes on while TDX is initialised: stages do not go back. */
  #tell(stage: (typeof STAGES)[number]): void {
    const at = STAGES.indexOf(stage)
    if (at <= this.#stage) return
    this.#stage = at
    this.#plan.onStage?.(stage)
  }

  readonly #broken = (error: unknown): void => {
    // QEMU is ending: its exit tells more than a lost connection.
    const lost = error instanceof InfraError && LOST.has(error.code)
    if (!lost) this.#end({ kind: 'broken', error })
  }

  async #emulate(connection: Promise<Socket>): Promise<void> {
    const { kernel, platform, machine } = this.#plan
    const silent = new AbortController()
    const socket = await Promise.race([
      connection,
      setTimeout(CONNECT_TIMEOUT, undefined, {
        signal: silent.signal,
        ref: false,
      }),
    ]).finally(() => {
      // Its rejection has no reader any more.
      silent.abort()
    })
    if (!socket)
      throw new InfraError(
        'QEMU_MUTE',
        `expected QEMU to connect to its debugger socket within ${CONNECT_TIMEOUT / 1000} s, it did not: is it really a QEMU?`,
      )
    this.#guest = await GdbClient.attach(socket, machine.cpus)
    this.#ledger = await this.#openLedger(this.#guest)
    if (this.#snapshot) {
      await loadGuest(await this.#events, {
        devices: this.#snapshot.devices,
        directory: this.#plan.directory,
      })
      this.console.read()
    }
    this.#begun = true
    this.#emulation = new Emulation({
      ledger: this.#ledger,
      guest: this.#guest,
      kernel: kernel.sites,
      platform,
      leavesBeforeList: (kernel.series ?? NEWEST_SERIES).leavesBeforeList,
      map: givenMap(machine),
      late: this.#accel === 'kvm' || kernel.bootFile !== kernel.image.path,
      followsKexec: this.#plan.next !== undefined,
      entersGuest: this.#entersGuest,
      begun: this.#snapshot?.notes,
      onFirstCall: seen => this.#takeSnapshot(seen),
      onUnanswered: () => {
        this.#end({ kind: 'unanswered' })
      },
      onActivity: () => {
        this.#touch()
        const { length } = this.#emulation?.kernels.at(-1)?.trace ?? []
        if (length > 0) this.#tell('TDX is initialised')
      },
    })
    await this.#emulation.run()
  }

  /** Nothing that a snapshot needs may fail a boot: it goes on without. */
  async #takeSnapshot(seen: EarlyNotes): Promise<void> {
    const draft = this.#draft
    const pid = this.#qemu?.pid
    const isAlone = this.#plugger.isIdle && this.#ledger?.isUntouched !== false
    if (!draft || pid === undefined || !isAlone) return
    const qmp = await this.#events
    const saving = this.#save({ qmp, pid, draft, seen })
    this.#saved = saving
    await saving
    // One that does not answer now is not the guest's fault.
    const isThere = await Promise.race([
      qmp.execute('query-status').then(() => true),
      setTimeout(DIAGNOSIS_TIMEOUT, false, { ref: false }),
    ])
    if (!isThere) this.#end({ kind: 'broken', error: neverSaved() })
  }

  async #save({ qmp, pid, draft, seen }: Saving): Promise<void> {
    const late = AbortSignal.timeout(SAVE_TIMEOUT)
    const signal = AbortSignal.any([this.#leaving.signal, late])
    const { machine, directory } = this.#plan
    const backends = memoryBackends(machine)
    try {
      const guest = { qmp, pid, backends, directory, signal }
      const memoryName = await saveGuest(guest, draft)
      const printed = await readFile(this.console.consolePath)
      // Trouble by chance would be that of every boot to come.
      this.console.read()
      if (!this.console.reader.hasIncidents)
        await draft.keep({ console: printed, notes: seen, memoryName })
    } catch (error) {
      // The draft goes with the boot. What becomes of that is told elsewhere.
      const isOver =
        this.#leaving.signal.aborted ||
        (error instanceof InfraError && LOST.has(error.code))
      if (!isOver) draft.failed(late.aborted ? savedTooLate() : error)
    }
  }

  /** Nobody writes to the draft any more. */
  async leave(): Promise<void> {
    this.#leaving.abort()
    await this.#saved
  }

  async #openLedger(guest: Debugger): Promise<Ledger | undefined> {
    const { allocations, kernel } = this.#plan
    if (!allocations) return undefined
    // It has four breakpoints, and a kernel a dozen of such calls.
    if (this.#accel === 'kvm')
      throw new InfraError(
        'ALLOCATIONS',
        'the scenario follows what the kernel allocates, which KVM has too few breakpoints for: run it with --accel tcg',
      )
    return new Ledger(guest, {
      sites: await findAllocationSites(kernel.image, allocations.of),
      resets: {
        loops: await findResetLoops(kernel.image),
        pageOffsetBase: kernel.image.symbol('page_offset_base')?.address,
      },
      vmemmapBase: kernel.image.symbol('vmemmap_base')?.address,
      failing: allocations.failing,
    })
  }

  /** Where every vCPU is, when the guest gave no sign of life. */
  async stuck(ending: Ending): Promise<StuckCpu[]> {
    if (!['silence', 'deadline', 'unanswered'].includes(ending.kind)) return []
    try {
      return await Promise.race([
        this.#whereStuck(ending),
        setTimeout(DIAGNOSIS_TIMEOUT, [], { ref: false }),
      ])
    } catch {
      // The hang is the finding; that it cannot be looked into changes nothing.
      return []
    }
  }

  async #whereStuck({ kind }: Ending): Promise<StuckCpu[]> {
    const guest = this.#guest
    const emulation = this.#emulation
    if (!guest || !emulation) return []
    // It stands already, at the SEAMCALL.
    if (kind !== 'unanswered') await emulation.freeze()
    const { image } = this.#plan.kernel
    return Promise.all(
      Array.from({ length: guest.cpus }, async (_, cpu) => {
        const stopped = await guest.registers(cpu)
        const rip = emulation.inKernel(stopped.rip)
        return { cpu, rip, symbol: image.symbolize(rip) ?? null }
      }),
    )
  }

  /**
   * What the boot left behind; QEMU has ended.
   *
   * @param nextCmdline of the kernel that a kexec step starts
   */
  evidence(
    nextCmdline: string | undefined,
  ): Pick<BootRecord, 'timing' | 'witnesses' | 'next'> {
    // What comes by chance until QEMU is gone is no part of the boot.
    if (this.#stoppedAt === null) this.console.read()
    else this.console.cutBehind(this.#stoppedAt)
    const { consolePath, timesPath, firstByte } = this.console
    const [first, second] = this.#emulation?.kernels ?? []
    const unmetFaults = this.#emulation?.unmetFaults ?? []
    return {
      timing: { total: performance.now() - this.#start, firstByte },
      witnesses: {
        console: { path: consolePath, timesPath, lossy: false },
        memory: memoryOf(first, this.#ledger?.record ?? null),
        module: moduleOf(first, unmetFaults),
        // Init was not reached.
        steps:
          this.#stoppedAt === null ? { plugged: this.#plugger.results } : null,
      },
      ...(nextCmdline !== undefined && {
        next: {
          cmdline: nextCmdline,
          memory: second ? memoryOf(second, null) : null,
          module: second ? moduleOf(second, unmetFaults) : null,
          physBase: second?.physBase ?? null,
        },
      }),
    }
  }
}

const memoryOf = (
  seen: KernelSeen | undefined,
  allocations: LedgerRecord | null,
): MemoryWitness => ({
  regions: seen?.regions ?? null,
  regionsAtBoot: seen?.regionsAtBoot ?? null,
  allocations,
  cmdline: seen?.cmdline ?? null,
})

const moduleOf = (
  seen: KernelSeen | undefined,
  unmetFaults: readonly Fault[],
): ModuleWitness => ({
  seamcalls: seen?.trace ?? [],
  tdmrs: seen?.tdmrs ?? null,
  keyidReads: seen?.keyidReads ?? 0,
  unmetFaults,
})

/** Undefined: the firmware's own. */
const givenMap = (machine: BootPlan['machine']): GivenMap | undefined =>
  machine.firmware.e820 && {
    e820: machine.firmware.e820,
    setupData: setupDataOf(machine),
  }

const savedTooLate = (): InfraError =>
  new InfraError(
    'SNAPSHOT',
    `expected QEMU to save a guest within ${SAVE_TIMEOUT / 1000} s, it did not`,
  )

const neverSaved = (): InfraError =>
  new InfraError(
    'SNAPSHOT',
    `expected QEMU to answer after it has saved a guest, it does not: --no-shortcuts does without`,
  )

const consoleFailure = (error: unknown): InfraError =>
  new InfraError('CONSOLE', `cannot keep the console: ${messageOf(error)}`, {
    cause: error,
  })
