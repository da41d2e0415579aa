import { type FileHandle, open } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { execa } from 'execa'
import { endsWithUs } from '../../base/ends-with-us.ts'
import { ipmitool } from './power.ts'
import { runProgram } from './program.ts'
import type { HostEntry } from './inventory.ts'

/** What prints the console of a host. */
export interface ConsoleCommand {
  readonly argv: readonly string[]
  /** What frees the console; it may fail. */
  readonly before: readonly string[] | undefined
  /** It ends by itself, and tidily, when its input does. */
  readonly endsWithInput: boolean
}

/** Undefined: nobody prints it. */
export const consoleCommand = ({
  console,
  power,
}: Pick<HostEntry, 'console' | 'power'>): ConsoleCommand | undefined => {
  if (console === 'none') return undefined
  if ('command' in console)
    return { argv: console.command, before: undefined, endsWithInput: false }
  // A BMC has one session: one that was left over would refuse ours.
  return power && 'ipmi' in power
    ? {
        argv: ipmitool(power.ipmi, ['sol', 'activate']),
        before: ipmitool(power.ipmi, ['sol', 'deactivate']),
        endsWithInput: true,
      }
    : undefined
}

/** A boot's log has some hundred KB; this is a kernel that prints for ever. */
const MAX_KEPT = 256 * 2 ** 20

/** Milliseconds in which a BMC ends a session. */
const PATIENCE = 5_000
/** Milliseconds before a program is started again. */
const AGAIN = 1_000

/** Keeps what a console prints in a file while a host boots. */
export class HostConsole implements AsyncDisposable {
  readonly path: string
  readonly #file: FileHandle
  readonly #command: ConsoleCommand
  readonly #close = new AbortController()
  readonly #done: Promise<void>
  #ends = 0
  #lastEnd = ''
  #kept = 0
  #lost = 0
  #written: Promise<unknown> = Promise.resolve()
  #closed: Promise<string> | undefined

  private constructor(path: string, file: FileHandle, command: ConsoleCommand) {
    this.path = path
    this.#file = file
    this.#command = command
    this.#done = this.#watch()
  }

  static async open(
    command: ConsoleCommand,
    path: string,
  ): Promise<HostConsole> {
    return new HostConsole(path, await open(path, 'w', 0o600), command)
  }

  /** A BMC may end a session when its host's power goes: another one begins. */
  async #watch(): Promise<void> {
    const { signal } = this.#close
    while (!signal.aborted) {
      const { before } = this.#command
      if (before) await runProgram(before, { timeout: PATIENCE })
      const exitCode = await this.#listen()
      // The signal may have come while it was awaited.
      if (this.#close.signal.aborted) return
      this.#ends++
      this.#lastEnd = `its program ended with exit code ${exitCode ?? 'none'}`
      await delay(AGAIN, undefined, { signal }).catch(() => undefined)
    }
  }

  async #listen(): Promise<number | undefined> {
    const { argv, endsWithInput } = this.#command
    const { signal } = this.#close
    const end = new AbortController()
    const child = execa('setpriv', endsWithUs(argv), {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'ignore',
      buffer: false,
      encoding: 'buffer',
      reject: false,
      detached: true,
      cancelSignal: end.signal,
      forceKillAfterDelay: 2000,
    })
    child.stdout.on('data', (chunk: Buffer) => {
      this.#keep(chunk)
    })
    child.stdin.on('error', () => undefined)
    let timer: NodeJS.Timeout | undefined
    const stop = (): void => {
      child.stdin.end()
      timer = setTimeout(
        () => {
          end.abort()
        },
        endsWithInput ? PATIENCE : 0,
      )
    }
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
    try {
      return (await child).exitCode
    } finally {
      signal.removeEventListener('abort', stop)
      clearTimeout(timer)
    }
  }

  #keep(chunk: Buffer): void {
    const part = chunk.subarray(0, MAX_KEPT - this.#kept)
    this.#kept += part.length
    this.#lost += chunk.length - part.length
    if (part.length === 0) return
    this.#written = this.#written.then(() => this.#file.write(part))
    // Awaited when it is closed.
    this.#written.catch(() => undefined)
  }

  /** @returns what is wrong with what was kept; empty when nothing is */
  close(): Promise<string> {
    this.#closed ??= this.#finish()
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #finish(): Promise<string> {
    this.#close.abort()
    await this.#done
    try {
      await this.#written
    } finally {
      await this.#file.close()
    }
    return [
      ...(this.#ends === 0
        ? []
        : [`${this.#lastEnd}${this.#ends > 1 ? `, ${this.#ends} times` : ''}`]),
      ...(this.#lost === 0
        ? []
        : [`${this.#lost} bytes beyond ${MAX_KEPT} were left out`]),
    ].join('; ')
  }
}
