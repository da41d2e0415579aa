import { execa } from 'execa'
import { endsWithUs } from '../../base/ends-with-us.ts'
import { InfraError } from '../../base/errors.ts'

/** How a QEMU process ended. */
export interface QemuExit {
  /** Null when a signal ended it. */
  readonly exitCode: number | null
  readonly signal: string | undefined
  readonly stderr: string
}

const STDERR_KEPT = 16 * 1024

/**
 * A QEMU process. The kernel kills it when this process ends, whatever ends
 * this process (prctl PR_SET_PDEATHSIG, set by setpriv).
 */
export class QemuProcess {
  readonly exit: Promise<QemuExit>
  /** Undefined: it could not be started. */
  readonly pid: number | undefined
  readonly #kill: () => void

  constructor(argv: readonly string[], cwd: string) {
    const child = execa('setpriv', endsWithUs(argv), {
      cwd,
      stdin: 'ignore',
      stdout: 'ignore',
      buffer: false,
      // Its own session: Ctrl-C in our terminal is for us alone.
      detached: true,
      encoding: 'buffer',
      reject: false,
      // Nothing of the caller's environment may change what is tested.
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' },
      extendEnv: false,
    })
    this.pid = child.pid
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => {
      if (stderr.length < STDERR_KEPT) stderr += chunk.toString('utf8')
    })
    this.#kill = () => {
      child.kill('SIGKILL')
    }
    this.exit = child.then(result => {
      if (result.code === 'ENOENT')
        stderr =
          'expected setpriv (util-linux) in PATH, found none: run ./scripts/setup'
      else if (result.exitCode === undefined && result.signal === undefined)
        stderr += result.message ?? ''
      return {
        exitCode: result.exitCode ?? null,
        signal: result.signal,
        stderr: stderr.trim(),
      }
    })
  }

  /** Ends it at once and waits until it is gone. */
  async kill(): Promise<void> {
    this.#kill()
    await this.exit
  }
}

/** The error for a QEMU that ended by itself with a failure. */
export const qemuFailure = (
  { exitCode, signal, stderr }: QemuExit,
  argv: readonly string[],
): InfraError =>
  new InfraError(
    'QEMU_FAILED',
    `${argv[0] ?? 'QEMU'} ended with ${
      signal === undefined
        ? `exit code ${exitCode ?? 'none'}`
        : `signal ${signal}`
    }: ${stderr || 'it said nothing'}`,
  )
