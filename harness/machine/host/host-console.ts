import { type FileHandle, open } from 'node:fs/promises'
import { execa } from 'execa'
import { endsWithUs } from '../../base/ends-with-us.ts'
import { ipmitool } from './power.ts'
import type { HostEntry } from './inventory.ts'

/** What prints the console of a host; undefined: nothing does. */
export const consoleCommand = ({
  console,
  power,
}: Pick<HostEntry, 'console' | 'power'>): string[] | undefined => {
  if (console === 'none') return undefined
  if ('command' in console) return console.command
  return power && 'ipmi' in power
    ? ipmitool(power.ipmi, ['sol', 'activate'])
    : undefined
}

/** A boot's log has some hundred KB; this is a kernel that prints for ever. */
const MAX_KEPT = 256 * 2 ** 20

/**
 * Keeps what a console prints in a file while a host boots. The program's stdin
 * stays open: serial over LAN ends when it does.
 */
export class HostConsole implements AsyncDisposable {
  readonly path: string
  readonly #file: FileHandle
  readonly #end = new AbortController()
  readonly #done: Promise<string>
  #kept = 0
  #lost = 0
  #written: Promise<unknown> = Promise.resolve()
  #closed: Promise<string> | undefined

  private constructor(path: string, file: FileHandle, argv: readonly string[]) {
    this.path = path
    this.#file = file
    const child = execa('setpriv', endsWithUs(argv), {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'ignore',
      buffer: false,
      encoding: 'buffer',
      reject: false,
      detached: true,
      cancelSignal: this.#end.signal,
      forceKillAfterDelay: 2000,
    })
    child.stdout.on('data', (chunk: Buffer) => {
      this.#keep(chunk)
    })
    child.stdin.on('error', () => undefined)
    this.#done = child.then(({ exitCode, isCanceled }) =>
      isCanceled
        ? ''
        : `its program ended with exit code ${exitCode ?? 'none'}`,
    )
  }

  static async open(
    argv: readonly string[],
    path: string,
  ): Promise<HostConsole> {
    return new HostConsole(path, await open(path, 'w', 0o600), argv)
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
    this.#end.abort()
    const ended = await this.#done
    try {
      await this.#written
    } finally {
      await this.#file.close()
    }
    return [
      ...(ended === '' ? [] : [ended]),
      ...(this.#lost === 0
        ? []
        : [`${this.#lost} bytes beyond ${MAX_KEPT} were left out`]),
    ].join('; ')
  }
}
