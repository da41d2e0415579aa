import { createHash, randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { InfraError, UsageError, messageOf } from '../../base/errors.ts'
import type { BootPlan, BootableKernel, Machine } from '../machine.ts'
import type { BootRecord, WitnessName } from '../record.ts'
import { HostConsole, consoleCommand } from './host-console.ts'
import type { HostFacts, HostState } from './found.ts'
import { logOf, stateOf } from './found.ts'
import type { HostSession } from './session.ts'
import { type Entry, entryText, mangledBy } from './loader.ts'
import type { Answer } from './remote.ts'
import { hibernationWords } from '../../scenario/rig-words.ts'
import { splitHostWords, testBootOf, testWords } from './words.ts'

/** Between two tries to reach a host that boots. */
const RETRY = 1_000

/**
 * A physical machine: each case is one boot of it, from the kernel that runs to
 * the next one. Its witness is the console; nobody looks into its memory or
 * its TDX module.
 */
export class HostMachine implements Machine {
  readonly witnesses: ReadonlySet<WitnessName> = new Set(['console'])
  readonly #session: HostSession
  readonly #found: HostFacts
  #broken: string | undefined

  constructor(session: HostSession) {
    this.#session = session
    this.#found = session.found
  }

  get description(): string {
    const { host } = this.#session
    return `host ${host.name} (${this.#found.release} by default, ${host.boot})`
  }

  async boot(plan: BootPlan, signal: AbortSignal): Promise<BootRecord> {
    const { host } = this.#session
    if (this.#broken !== undefined)
      throw new InfraError(
        'HOST_BROKEN',
        `${host.name} is given no further case: ${this.#broken}`,
      )
    const start = performance.now()
    const nonce = randomUUID().slice(0, 8)
    const entry = await this.#prepare(plan, nonce, signal)
    const before = await this.#session.arm(entryTextOf(this.#session, entry), {
      entry,
      signal,
    })
    const watched = consoleCommand(host)
    const console =
      watched &&
      (await HostConsole.open(watched, join(plan.directory, 'serial')))
    let complaint = ''
    try {
      await this.#session.reboot(signal)
      const came = await this.#await(before, signal)
      const answer =
        came && testBootOf(came.cmdline) === nonce
          ? await this.#witness(plan, signal)
          : undefined
      complaint = (await console?.close()) ?? ''
      return await this.#record({ plan, entry, answer, came, start, console })
    } catch (error) {
      if (!signal.aborted && error instanceof InfraError)
        this.#broken ??= messageOf(error)
      throw error
    } finally {
      if (complaint === '') await console?.close().catch(() => undefined)
    }
  }

  /** The kernel lies on the host, and its command line is known. */
  async #prepare(
    { kernel, words }: BootPlan,
    nonce: string,
    signal: AbortSignal,
  ): Promise<Entry> {
    const { host } = this.#session
    const { kept } = splitHostWords(this.#found.cmdline)
    const all = [
      ...kept,
      ...host.append,
      ...testWords(nonce),
      ...hibernationWords(kernel, words),
      ...words,
    ]
    const mangled = mangledBy(host.boot, all)
    if (mangled.length > 0)
      throw new UsageError(
        'HOST_WORDS',
        `${host.name}: GRUB does not hand on ${mangled.map(word => `'${word}'`).join(', ')} as written: expected words without blanks, quotes and backslashes`,
      )
    const image = await readFile(bootImage(kernel))
    const hash = createHash('sha256').update(image).digest('hex')
    const name = `vmlinuz-${hash.slice(0, 16)}`
    await this.#session.install(name, { image, hash, signal })
    return { kernel: name, initrd: undefined, words: all }
  }

  /**
   * Waits for another boot to answer. One that never does is switched off and
   * on, twice at most.
   *
   * @returns undefined when the test boot never came, and the default one did
   */
  async #await(
    before: HostState,
    signal: AbortSignal,
  ): Promise<HostState | undefined> {
    const { host, power } = this.#session
    const came = await this.#another(before, signal)
    if (came) return came
    if (!power)
      throw new InfraError(
        'HOST_LOST',
        `${host.name} did not come back within ${host.deadline / 1000} s, and the inventory has no power for it: switch it off and on by hand`,
      )
    for (let i = 0; i < 2; i++) {
      await power.cycle(signal)
      if (await this.#another(before, signal)) return undefined
    }
    throw new InfraError(
      'HOST_LOST',
      `${host.name} did not come back within ${host.deadline / 1000} s, nor after its power was cycled twice: look at its console`,
    )
  }

  async #another(
    before: HostState,
    signal: AbortSignal,
  ): Promise<HostState | undefined> {
    const end = performance.now() + this.#session.host.deadline
    while (performance.now() < end) {
      try {
        const state = stateOf(await this.#session.ask(['status'], signal))
        if (state.bootId !== before.bootId) return state
      } catch (error) {
        signal.throwIfAborted()
        const away =
          error instanceof InfraError && error.code === 'HOST_UNREACHABLE'
        if (!away) throw error
      }
      await setTimeout(RETRY, undefined, { signal })
    }
    return undefined
  }

  /** What the kernel says once the host is up, after TDX was asked for. */
  async #witness(plan: BootPlan, signal: AbortSignal): Promise<Answer> {
    if (plan.kernel.trigger !== 'at boot' && plan.kernel.hostsTdx)
      throw new UsageError(
        'HOST_TRIGGER',
        `${plan.kernel.name} does not initialise TDX by itself: on hosts kernels from 7.1 on can be tried`,
      )
    await this.#session.renew(signal)
    return this.#session.ask(['evidence'], signal)
  }

  async #record({
    plan,
    entry,
    answer,
    came,
    start,
    console,
  }: Came): Promise<BootRecord> {
    const path = join(plan.directory, 'console')
    const log = answer && logOf(answer)
    const serial = console && (await readFile(console.path))
    // The kernel's own log is whole; a serial line may lose characters.
    const best = log ?? (serial && serial.length > 0 ? serial : undefined)
    if (best) await writeFile(path, best)
    const { host } = this.#session
    const cmdline = entry.words.join(' ')
    return {
      end: answer ? 'settled' : came ? 'reset' : 'deadline',
      stuck: [],
      timing: { total: performance.now() - start, firstByte: null },
      start: {
        cmdline:
          host.boot === 'grub'
            ? `BOOT_IMAGE=${this.#session.pathOf(entry.kernel)} ${cmdline}`
            : cmdline,
        argv: this.#session.bootLine(),
      },
      witnesses: {
        console: best ? { path, timesPath: null } : null,
        memory: null,
        module: null,
        steps: null,
      },
    }
  }
}

interface Came {
  readonly plan: BootPlan
  readonly entry: Entry
  /** Evidence of the test boot; undefined: it did not come up. */
  readonly answer: Answer | undefined
  /** What answered; undefined: nothing before the power was cycled. */
  readonly came: HostState | undefined
  readonly start: number
  readonly console: HostConsole | undefined
}

const entryTextOf = (session: HostSession, entry: Entry): string =>
  entryText(session.host.boot, entry, session.grubPlace)

const bootImage = ({ name, bzImage }: BootableKernel): string => {
  if (bzImage !== undefined) return bzImage
  throw new UsageError(
    'HOST_KERNEL',
    `${name} has no bzImage, and no boot loader starts a vmlinux: give its vmlinuz`,
  )
}
