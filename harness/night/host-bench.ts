import { setTimeout as setTimer } from 'node:timers'
import { setTimeout } from 'node:timers/promises'
import { InfraError, messageOf } from '../base/errors.ts'
import { type FoundMachine, foundBoard } from '../board/index.ts'
import { HostMachine } from '../machine/host/host-machine.ts'
import type { HostEntry } from '../machine/host/inventory.ts'
import { HostSession } from '../machine/host/session.ts'
import type { Reproduce } from '../report/reporter.ts'
import type { Workspace } from '../run/workspace.ts'
import { type Bench, bootCell, faultOf, reproduceNight } from './bench.ts'
import type { KernelShelf } from './kernel-shelf.ts'

export interface HostBenchOptions {
  readonly host: HostEntry
  readonly workspace: Workspace
  readonly kernels: KernelShelf
  readonly reproduce: Reproduce
  readonly signal: AbortSignal
  readonly onStep: (text: string) => void
}

/** Milliseconds after which a host is given back that nobody asks for. */
const IDLE_MS = 600_000
/** Milliseconds for which a host is waited for that somebody holds. */
const HELD_MS = 900_000
const HELD_AGAIN = 5_000

/** A session with the machine that boots through it. */
interface Held {
  readonly session: HostSession
  readonly machine: HostMachine
}

/** A physical host, which is ours from the first job on until it is let go. */
export class HostBench implements Bench {
  readonly #options: HostBenchOptions
  #held: Promise<Held> | undefined
  #idle: NodeJS.Timeout | undefined
  #underWay = 0

  constructor(options: HostBenchOptions) {
    this.#options = options
  }

  /** What the host is, as it is found. */
  async look(): Promise<FoundMachine> {
    return (await this.#hold()).session.found.machine
  }

  readonly boot: Bench['boot'] = async (order, signal) => {
    const { host, workspace, kernels, reproduce } = this.#options
    this.#underWay++
    try {
      const { session, machine } = await this.#hold()
      const kernel = await kernels.prepared(order.begun)
      const finished = await bootCell({
        order,
        name: host.name,
        board: foundBoard(session.found.machine),
        machine,
        kernel,
        workspace,
        signal,
        reproduce: reproduceNight(
          reproduce,
          kernel,
          order.begun.origin === null,
        ),
      })
      // Whatever is wrong with the host: the next case begins anew with it.
      if (finished.verdict === 'error')
        await this.letGo().catch(() => undefined)
      return finished
    } catch (error) {
      await this.letGo().catch(() => undefined)
      return faultOf(host.name, error, signal)
    } finally {
      this.#underWay--
    }
  }

  /**
   * Back to its default kernel, and without a trace of us.
   *
   * @throws InfraError when that cannot be seen: it goes home by itself when
   *   its lease ends
   */
  async letGo(): Promise<void> {
    const held = this.#held
    if (!held) return
    this.#held = undefined
    const one = await held.catch(() => undefined)
    if (!one) return
    const { signal, host } = this.#options
    try {
      if (signal.aborted) await one.session.leave()
      else await one.session.close(signal)
    } catch (error) {
      throw new InfraError(
        'HOST_NOT_BACK',
        `${host.name} was not given back (${messageOf(error)}): it goes back to its default kernel by itself when its lease ends`,
        { cause: error },
      )
    }
  }

  /** Nobody has asked for it for a while: it is given back. */
  #rest(): void {
    clearTimeout(this.#idle)
    this.#idle = setTimer(() => {
      if (this.#underWay > 0) this.#rest()
      else void this.letGo().catch(() => undefined)
    }, IDLE_MS).unref()
  }

  #hold(): Promise<Held> {
    this.#rest()
    this.#held ??= this.#open().catch((error: unknown) => {
      this.#held = undefined
      throw error
    })
    return this.#held
  }

  async #open(): Promise<Held> {
    const { host, workspace, signal, onStep } = this.#options
    const end = performance.now() + HELD_MS
    for (;;) {
      try {
        const session = await HostSession.open({
          host,
          directory: workspace.path,
          purpose: 'tdxrig night',
          signal,
          onStep,
        })
        return { session, machine: new HostMachine(session) }
      } catch (error) {
        // A worker that was killed holds it until its lease ends.
        const isHeld = error instanceof InfraError && error.code === 'HOST_HELD'
        if (!isHeld || performance.now() > end) throw error
        onStep(error.message)
        await setTimeout(HELD_AGAIN, undefined, { signal })
      }
    }
  }
}
