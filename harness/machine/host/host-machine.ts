import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { InfraError, UsageError, messageOf } from '../../base/errors.ts'
import { hibernationWords } from '../../scenario/rig-words.ts'
import type { BootPlan, BootableKernel, Machine } from '../machine.ts'
import type { BootRecord, EndReason, WitnessName } from '../record.ts'
import { logOf, markedBoot } from './found.ts'
import { HostConsole, consoleCommand } from './host-console.ts'
import { type Entry, entryText, mangledBy, printedCmdline } from './loader.ts'
import { provideKernel } from './provide-kernel.ts'
import { type Back, type HostSession, isUnreachable } from './session.ts'
import { markOf, splitHostWords, testBootOf, testWords } from './words.ts'

/**
 * A physical machine: each case is one boot of it, from the kernel that runs to
 * the next one. Its witness is the console; nobody looks into its memory or
 * its TDX module.
 */
export class HostMachine implements Machine {
  readonly witnesses: ReadonlySet<WitnessName> = new Set(['console'])
  readonly #session: HostSession
  readonly #provided = new Map<string, ReturnType<typeof provideKernel>>()
  #broken: string | undefined

  constructor(session: HostSession) {
    this.#session = session
  }

  get description(): string {
    const { host, found } = this.#session
    return `host ${host.name} (${found.release} by default, ${host.boot})`
  }

  async boot(plan: BootPlan, signal: AbortSignal): Promise<BootRecord> {
    const { host } = this.#session
    if (this.#broken !== undefined)
      throw new InfraError(
        'HOST_BROKEN',
        `${host.name} is given no further case: ${this.#broken}`,
      )
    const start = performance.now()
    const mark = randomUUID().slice(0, 8)
    const words = this.#wordsOf(plan, mark)
    plan.onStage?.(`${host.name} is given the kernel`)
    const entry = { ...(await this.#files(plan, signal)), words }
    const command = consoleCommand(host)
    await using serial =
      command &&
      (await HostConsole.open(command, join(plan.directory, 'serial')))
    const { back, log } = await this.#bootOnce(plan, { entry, mark, signal })
    const complaint = (await serial?.close()) ?? ''
    if (complaint !== '')
      this.#session.say(`the console was not kept whole: ${complaint}`)
    if (isOurs(back, mark) && !log)
      throw new InfraError(
        'HOST_LOG',
        `${host.name}: the kernel's ring buffer has lost its beginning, and there is no journal of this boot: add log_buf_len=16M to 'append' of the host`,
      )
    return {
      end: endOf(back, mark),
      stuck: [],
      timing: { total: performance.now() - start, firstByte: null },
      start: {
        cmdline: printedCmdline(host.boot, entry, this.#session.grubPlace),
        argv: this.#session.bootLine(),
      },
      witnesses: {
        // The kernel's own log is whole.
        console: log
          ? await keptConsole(plan, log, { lossy: false })
          : await keptConsole(plan, await bootOn(serial, mark), {
              lossy: true,
            }),
        memory: null,
        module: null,
        steps: null,
      },
    }
  }

  /** A kernel is put there once. */
  #files(
    { kernel, directory }: BootPlan,
    signal: AbortSignal,
  ): Promise<Pick<Entry, 'kernel' | 'initrd'>> {
    const known =
      this.#provided.get(kernel.name) ??
      provideKernel(this.#session, kernel, { directory, signal })
    this.#provided.set(kernel.name, known)
    known.catch(() => this.#provided.delete(kernel.name))
    return known
  }

  /**
   * Everything the kernel is told.
   *
   * @throws UsageError for what cannot be booted here, before anything is
   */
  #wordsOf({ kernel, words }: BootPlan, mark: string): string[] {
    const { host, found } = this.#session
    const all = [
      ...splitHostWords(found.cmdline).kept,
      ...host.append,
      ...testWords(mark),
      // KVM initialises TDX before 7.1, when it is told to.
      ...(kernel.hostsTdx && kernel.trigger !== 'at boot'
        ? ['kvm_intel.tdx=1']
        : []),
      ...hibernationWords(kernel, words),
      ...words,
    ]
    const mangled = mangledBy(host.boot, all)
    if (mangled.length > 0)
      throw new UsageError(
        'HOST_WORDS',
        `${host.name}: GRUB does not hand on ${mangled.map(word => `'${word}'`).join(', ')} as written: expected words without blanks, quotes and backslashes`,
      )
    return all
  }

  /** A host that did not come back, or not as it was told, gets no other case. */
  async #bootOnce(plan: BootPlan, once: Once): Promise<Booted> {
    const { entry, mark, signal } = once
    const { host, grubPlace } = this.#session
    const text = entryText(host.boot, entry, grubPlace)
    const before = await this.#session.arm(text, { entry, signal })
    try {
      plan.onStage?.(`${this.#session.host.name} reboots`)
      await this.#session.reboot(signal)
      const back = await this.#session.comeBack(before, signal)
      if (back.state.armed)
        throw new InfraError(
          'HOST_LOADER',
          `${host.name} came back and its boot loader has not taken the entry: expected it to read next_entry`,
        )
      plan.onStage?.(`${this.#session.host.name} is asked`)
      const booted = isOurs(back, mark)
        ? await this.#asked(plan.kernel, { back, signal })
        : { back, log: undefined }
      if (booted.back.state.guarded)
        throw new InfraError(
          'HOST_LEASE',
          `${host.name} went back to its default kernel because nobody renewed the lease: was this machine asleep, or the network away for longer than a boot takes?`,
        )
      return booted
    } catch (error) {
      if (!signal.aborted) this.#broken ??= messageOf(error)
      throw error
    } finally {
      this.#session.settle()
    }
  }

  /**
   * The log of a kernel that has initialised TDX, by itself or when asked. It
   * may die of that, which its console shows, or its network may be away for a
   * while.
   */
  async #asked(
    kernel: BootableKernel,
    { back, signal }: { readonly back: Back; readonly signal: AbortSignal },
  ): Promise<Booted> {
    for (let tries = 1; ; tries++) {
      try {
        await this.#session.hold(signal)
        // A kernel that answers and is not through with it hangs in there.
        if (tries <= TRIGGERS) await this.#trigger(kernel, signal)
        return {
          back,
          log: logOf(await this.#session.ask(['log'], { signal })),
        }
      } catch (error) {
        if (!isUnreachable(error) || tries > TRIGGERS) throw error
        const now = await this.#session.answerAgain(signal)
        if (now.cycled || now.state.bootId !== back.state.bootId)
          return { back: now, log: undefined }
      }
    }
  }

  async #trigger(
    { hostsTdx, trigger, triggerModule }: BootableKernel,
    signal: AbortSignal,
  ): Promise<void> {
    if (!hostsTdx || trigger === 'at boot') return
    const module = triggerModule === undefined ? [] : ['module']
    await this.#session.act(['trigger', ...module], {
      signal,
      timeout: this.#session.host.deadline,
      ...(triggerModule !== undefined && {
        input: await readFile(triggerModule),
      }),
    })
  }
}

/** One boot of an entry. */
interface Once {
  readonly entry: Entry
  /** Of this boot, on its command line. */
  readonly mark: string
  readonly signal: AbortSignal
}

interface Booted {
  readonly back: Back
  /** Undefined: the kernel does not answer, or has lost what it printed first. */
  readonly log: Buffer | undefined
}

/** How often a kernel is asked to initialise TDX, when nothing comes back. */
const TRIGGERS = 2

/** The test boot itself answers. */
const isOurs = ({ state, cycled }: Back, mark: string): boolean =>
  !cycled && testBootOf(state.cmdline) === mark

/** A kernel that panics resets into the default; one that hangs is cycled. */
const endOf = (back: Back, mark: string): EndReason => {
  if (back.cycled) return 'deadline'
  return isOurs(back, mark) ? 'settled' : 'reset'
}

const bootOn = async (
  serial: HostConsole | undefined,
  mark: string,
): Promise<Buffer | undefined> =>
  serial && markedBoot(await readFile(serial.path), markOf(mark))

const keptConsole = async (
  { directory }: BootPlan,
  bytes: Buffer | undefined,
  { lossy }: { readonly lossy: boolean },
): Promise<BootRecord['witnesses']['console']> => {
  if (!bytes) return null
  const path = join(directory, 'console')
  await writeFile(path, bytes)
  return { path, timesPath: null, lossy }
}
