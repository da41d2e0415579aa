import { setTimeout } from 'node:timers/promises'
import { InfraError } from '../../base/errors.ts'
import { visible } from '../../base/text.ts'
import { type ProgramResult, runProgram } from './program.ts'
import type { HostEntry, IpmiEntry } from './inventory.ts'

export type PowerState = 'on' | 'off'

/** A BMC that has not answered by then will not. */
const TIMEOUT = 30_000
/** Milliseconds in which a server is off, or on, after it was told. */
export const SETTLE = 60_000
const POLL = 1_000

/** How a host is switched: words of a program for each thing to do. */
export interface PowerCommands {
  readonly on: readonly string[]
  readonly off: readonly string[]
  readonly status: readonly string[]
}

/**
 * ipmitool's own line. The password comes from a file; a cipher suite is named,
 * or each call loses ten seconds on asking for one (seen with 1.8.19).
 */
export const ipmitool = (
  { address, port, user, passwordFile, cipherSuite }: IpmiEntry,
  command: readonly string[],
): string[] => [
  'ipmitool',
  '-I',
  'lanplus',
  '-C',
  String(cipherSuite),
  '-H',
  address,
  '-p',
  String(port),
  '-U',
  user,
  '-f',
  passwordFile,
  ...command,
]

export const powerCommands = ({
  power,
}: Pick<HostEntry, 'power'>): PowerCommands | undefined => {
  if (!power) return undefined
  if ('command' in power) return power.command
  const chassis = (what: string): string[] =>
    ipmitool(power.ipmi, ['chassis', 'power', what])
  return { on: chassis('on'), off: chassis('off'), status: chassis('status') }
}

/** Switches a host off and on, and believes only what is read back. */
export class Power {
  readonly #host: string
  readonly #commands: PowerCommands

  constructor(host: string, commands: PowerCommands) {
    this.#host = host
    this.#commands = commands
  }

  /** @throws InfraError when nobody answers, or not with a state */
  async status(signal?: AbortSignal): Promise<PowerState> {
    const { stdout } = await this.#run(this.#commands.status, signal)
    const text = stdout.toString('latin1')
    const [, state] = /\b(on|off)\s*$/i.exec(text.trim()) ?? []
    if (state !== undefined) return state.toLowerCase() as PowerState
    throw new InfraError(
      'POWER',
      `${this.#host}: expected 'on' or 'off' from ${this.#commands.status[0]!}, found '${visible(text.slice(0, 80).trim())}'`,
    )
  }

  /**
   * Off, and on again. A BMC's own `cycle` does nothing when the host is off,
   * and returns before it has begun (seen with ipmi_sim 2.0.33).
   */
  async cycle(signal?: AbortSignal): Promise<void> {
    try {
      await this.#switch('off', signal)
    } catch (error) {
      // Whatever its BMC says, and whoever interrupts: it must not stay off.
      await this.#run(this.#commands.on).catch(() => undefined)
      throw error
    }
    // Not with the signal: an interrupted run leaves no host that is off.
    await this.#switch('on')
    signal?.throwIfAborted()
  }

  async #switch(to: PowerState, signal?: AbortSignal): Promise<void> {
    await this.#run(this.#commands[to], signal)
    const end = performance.now() + SETTLE
    while ((await this.status(signal)) !== to) {
      if (performance.now() > end)
        throw new InfraError(
          'POWER',
          `${this.#host}: expected it to be ${to} ${SETTLE / 1000} s after it was told, its BMC says it is not`,
        )
      await setTimeout(POLL, undefined, signal && { signal })
    }
  }

  async #run(
    argv: readonly string[],
    signal?: AbortSignal,
  ): Promise<ProgramResult> {
    const result = await runProgram(argv, { timeout: TIMEOUT, signal })
    if (result.exitCode === 0) return result
    const [program = ''] = argv
    const why = result.missing
      ? `there is no ${program} in PATH: install it`
      : result.timedOut
        ? `no answer within ${TIMEOUT / 1000} s`
        : visible(result.stderr || result.stdout.toString('utf8').trim()) ||
          'no reason given'
    throw new InfraError('POWER', `${this.#host}: ${program}: ${why}`)
  }
}
