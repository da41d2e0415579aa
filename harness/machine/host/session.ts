import { randomUUID } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import { setTimeout } from 'node:timers/promises'
import { InfraError, UsageError, messageOf } from '../../base/errors.ts'
import { visible } from '../../base/text.ts'
import { type HostFacts, type HostState, hostFacts, stateOf } from './found.ts'
import type { HostEntry } from './inventory.ts'
import { type Entry, type GrubPlace, loaderProblems } from './loader.ts'
import { Power, SETTLE, powerCommands } from './power.ts'
import {
  type Answer,
  type AskOptions,
  Remote,
  hostScript,
  textOf,
} from './remote.ts'
import { testBootOf } from './words.ts'

export interface SessionOptions {
  readonly host: HostEntry
  /** Private folder with a short path. */
  readonly directory: string
  /** What the host is wanted for, for whoever wants it too. */
  readonly purpose: string
  readonly signal: AbortSignal
  readonly onStep: (text: string) => void
}

/** What answered after a reboot. */
export interface Back {
  readonly state: HostState
  /** Its power had to be cycled. */
  readonly cycled: boolean
}

/** Seconds a lease lasts that is renewed all the time. */
const LEASE_SECONDS = 180
/** Milliseconds between two renewals. */
const RENEWAL = 60_000
/** Seconds beyond a boot: what is done before and after it. */
const SLACK_SECONDS = 120
/** Milliseconds between two tries to reach a host that boots. */
const RETRY = 1_000
/** How often the power of a host is cycled that does not come back. */
const CYCLES = 2

/**
 * A host that is ours for a while: its lease is held, it is known what it is,
 * and at the end it runs its default kernel again and has nothing of ours.
 */
export class HostSession {
  readonly host: HostEntry
  readonly power: Power | undefined
  readonly #remote: Remote
  readonly #token = randomUUID()
  readonly #options: SessionOptions
  #heartbeat: NodeJS.Timeout | undefined
  /** The renewal that is under way. */
  #beating: Promise<unknown> | undefined
  /** It boots, and the lease is long enough for that. */
  #isAway = false
  #found: HostFacts | undefined

  private constructor(options: SessionOptions) {
    const { host, directory } = options
    this.#options = options
    this.host = host
    this.#remote = new Remote({
      destination: host.ssh,
      sshConfig: host.sshConfig,
      directory,
    })
    const commands = powerCommands(host)
    this.power = commands && new Power(host.name, commands)
  }

  /**
   * Takes the lease, and finds out what the host is.
   *
   * @throws InfraError when somebody else has it (`HOST_HELD`)
   */
  static async open(options: SessionOptions): Promise<HostSession> {
    const session = new HostSession(options)
    try {
      await session.#lease()
    } catch (error) {
      // It may have been granted, and the answer is what was not waited for.
      if (options.signal.aborted) await session.leave().catch(() => undefined)
      else await session.#remote.close()
      throw await session.#withPower(error)
    }
    session.#heartbeat = setInterval(() => {
      session.#beat()
    }, RENEWAL).unref()
    try {
      await session.#find()
      return session
    } catch (error) {
      // What is wrong with the host is worth more than what this says.
      await session.leave().catch(() => undefined)
      throw error
    }
  }

  /** Why nobody answers: its BMC may know. */
  async #withPower(error: unknown): Promise<unknown> {
    if (!isUnreachable(error) || !this.power) return error
    const state = await this.power.status(this.#options.signal).catch(messageOf)
    return new InfraError(
      error.code,
      `${error.message}; its BMC ${state === 'off' ? 'says that it is off: switch it on' : state === 'on' ? 'says that it is on' : `does not answer either (${state})`}`,
    )
  }

  get found(): HostFacts {
    if (!this.#found) throw new TypeError('the host was not looked at')
    return this.#found
  }

  get grubPlace(): GrubPlace {
    const { answer } = this.found
    const [, uuid = '', target = '/'] = textOf(answer, 'boot-fs').split(' ')
    const folder = '/boot/tdxrig'
    return {
      uuid,
      folder: target === '/' ? folder : folder.slice(target.length),
    }
  }

  /** How a person boots the host. */
  bootLine(): string[] {
    return this.#remote.sshLine(['reboot'])
  }

  /** For whoever watches. */
  say(text: string): void {
    this.#options.onStep(`${this.host.name}: ${text}`)
  }

  /** How long a boot may take until the host answers again, power cycles included. */
  get #bootSeconds(): number {
    const cycles = this.power ? CYCLES : 0
    return Math.ceil(
      ((1 + cycles) * this.host.deadline + cycles * 2 * SETTLE) / 1000 +
        SLACK_SECONDS,
    )
  }

  /** Whether the lease is still ours shows with the next act. */
  #beat(): void {
    if (this.#isAway || this.#beating) return
    this.#beating = this.#renew(LEASE_SECONDS, this.#options.signal)
      .catch(() => undefined)
      .finally(() => (this.#beating = undefined))
  }

  async #lease(): Promise<void> {
    const { signal, purpose } = this.#options
    const base64 = (text: string): string =>
      Buffer.from(text).toString('base64')
    const owner = `${userInfo().username} on ${hostname()}`
    this.say('taking the lease')
    const answer = await this.#remote.ask(
      [
        'lease',
        this.#token,
        String(LEASE_SECONDS),
        base64(owner),
        base64(purpose),
      ],
      { signal },
    )
    const held = textOf(answer, 'held')
    if (held !== '') {
      const [, expiry = '', who = '', why = ''] = held.split('\n')
      const until = new Date(Number(expiry) * 1000)
      throw new InfraError(
        'HOST_HELD',
        `${this.host.name} is held by ${visible(who)} for '${visible(why)}' until ${Number.isNaN(until.getTime()) ? 'an unknown time' : until.toISOString()}, or longer while they work: wait, or ask them`,
      )
    }
  }

  #renew(seconds: number, signal: AbortSignal): Promise<Answer> {
    return this.act(['renew', String(seconds)], { signal })
  }

  async #find(): Promise<void> {
    const { signal } = this.#options
    let answer = await this.#remote.ask(['facts'], { signal })
    if (testBootOf(stateOf(answer).cmdline) !== undefined) {
      this.say('left in a test boot, going back')
      await this.#home(stateOf(answer), signal)
      answer = await this.#remote.ask(['facts'], { signal })
    }
    this.#found = hostFacts(this.host.name, answer)
    const problems = loaderProblems(this.host, answer)
    if (problems.length > 0)
      throw new UsageError(
        'HOST_LOADER',
        problems.map(text => `${this.host.name}: ${text}`).join('\n'),
      )
  }

  ask(verb: readonly string[], options: AskOptions): Promise<Answer> {
    return this.#remote.ask(verb, options)
  }

  /** What only the holder of the lease may do. */
  act(
    [verb = '', ...args]: readonly string[],
    options: AskOptions,
  ): Promise<Answer> {
    return this.#remote.ask([verb, this.#token, ...args], options)
  }

  /** @returns what runs now: the boot that comes is another one */
  async arm(
    text: string,
    { entry, signal }: { readonly entry: Entry; readonly signal: AbortSignal },
  ): Promise<HostState> {
    await this.act(['keep-guard'], { signal, input: await hostScript() })
    await this.act(
      [
        'arm',
        this.host.boot,
        entry.kernel,
        ...(entry.initrd ? [entry.initrd] : []),
      ],
      { signal, input: Buffer.from(text) },
    )
    return stateOf(await this.#remote.ask(['status'], { signal }))
  }

  /** The lease outlasts the boot: nobody can renew it meanwhile. */
  async reboot(
    signal: AbortSignal,
    how: readonly HostEntry['boot'][] = [this.host.boot],
  ): Promise<void> {
    await this.hold(signal)
    await this.act(['reboot', ...how], { signal })
  }

  /** Makes the lease as long as a boot may take, until `settle()`. */
  async hold(signal: AbortSignal): Promise<void> {
    this.#isAway = true
    // A renewal that came later would shorten the lease again.
    await this.#beating
    await this.#renew(this.#bootSeconds, signal)
  }

  /** What boots is through: the lease is short again, and renewed. */
  settle(): void {
    this.#isAway = false
    this.#beat()
  }

  /**
   * Waits for another boot to answer. A host that never does is switched off
   * and on, where somebody can.
   *
   * @throws InfraError when it does not come back (`HOST_LOST`)
   */
  comeBack(before: HostState, signal: AbortSignal): Promise<Back> {
    return this.#back(({ bootId }) => bootId !== before.bootId, signal)
  }

  /** Waits for a host that answers no more: the same boot, or another one. */
  answerAgain(signal: AbortSignal): Promise<Back> {
    return this.#back(() => true, signal)
  }

  async #back(
    isBack: (state: HostState) => boolean,
    signal: AbortSignal,
  ): Promise<Back> {
    const { name, deadline } = this.host
    for (let cycles = 0; ; cycles++) {
      const state = await this.#answered(isBack, signal)
      if (state) return { state, cycled: cycles > 0 }
      if (!this.power || cycles === CYCLES) break
      this.say('does not answer, its power is cycled')
      await this.power.cycle(signal)
    }
    throw new InfraError(
      'HOST_LOST',
      this.power
        ? `${name} did not come back within ${deadline / 1000} s, nor after its power was cycled: look at its console`
        : `${name} did not come back within ${deadline / 1000} s, and the inventory has no power for it: switch it off and on by hand`,
    )
  }

  async #answered(
    isBack: (state: HostState) => boolean,
    signal: AbortSignal,
  ): Promise<HostState | undefined> {
    const end = performance.now() + this.host.deadline
    while (performance.now() < end) {
      const state = await this.#remote
        .ask(['status'], { signal })
        .then(stateOf, (error: unknown) => {
          if (!isUnreachable(error)) throw error
          return undefined
        })
      if (state && isBack(state)) return state
      await setTimeout(RETRY, undefined, { signal })
    }
    return undefined
  }

  /** One boot of the default kernel, and what the host is then. */
  async rebootAsFound(signal: AbortSignal): Promise<HostFacts> {
    const before = stateOf(await this.ask(['status'], { signal }))
    this.say('booting its default kernel')
    await this.act(['disarm'], { signal })
    await this.reboot(signal, [])
    await this.comeBack(before, signal)
    this.settle()
    await this.#find()
    return this.found
  }

  /** Back to the default kernel; nothing of ours is left. */
  async close(signal: AbortSignal): Promise<void> {
    try {
      const now = stateOf(await this.#remote.ask(['status'], { signal }))
      if (testBootOf(now.cmdline) !== undefined) await this.#home(now, signal)
      await this.act(['disarm', 'all'], { signal })
      await this.act(['release'], { signal })
    } finally {
      clearInterval(this.#heartbeat)
      await this.#remote.close()
    }
  }

  /**
   * Gives the host up at once, wherever it is: a test boot without a lease goes
   * home by itself.
   */
  async leave(): Promise<void> {
    clearInterval(this.#heartbeat)
    const signal = AbortSignal.timeout(PATIENCE)
    try {
      await this.act(['disarm'], { signal })
      await this.act(['release'], { signal })
    } finally {
      await this.#remote.close()
    }
  }

  /** Without an entry that is armed a host boots its default. */
  async #home(now: HostState, signal: AbortSignal): Promise<void> {
    await this.act(['disarm'], { signal })
    await this.reboot(signal, [])
    const { state } = await this.comeBack(now, signal)
    this.settle()
    if (testBootOf(state.cmdline) !== undefined)
      throw new InfraError(
        'HOST_DEFAULT',
        `${this.host.name} boots a test kernel though none is armed: look at its boot loader`,
      )
  }
}

/** Nobody answered, which may be a network or a host that boots. */
export const isUnreachable = (error: unknown): error is InfraError =>
  error instanceof InfraError && error.code === 'HOST_UNREACHABLE'

/** Milliseconds that whoever interrupts waits for a host. */
const PATIENCE = 10_000
