import { execa } from 'execa'
import { endsWithUs } from '../../base/ends-with-us.ts'
import { systemCode } from '../../base/errors.ts'

/** A program that deals with somebody else's machine, and what came of it. */
export interface ProgramResult {
  /** Null: it did not end by itself. */
  readonly exitCode: number | null
  readonly stdout: Buffer
  readonly stderr: string
  readonly timedOut: boolean
  /** The program is not installed. */
  readonly missing: boolean
}

export interface ProgramOptions {
  readonly input?: Uint8Array | undefined
  /** Milliseconds after which it is ended. */
  readonly timeout: number
  readonly signal?: AbortSignal | undefined
}

/** What a host sends may be endless; more is no answer to anything we ask. */
const MAX_OUTPUT = 256 * 2 ** 20

/**
 * Runs a program without a shell. It ends with this process, however that ends
 * (prctl PR_SET_PDEATHSIG, set by setpriv).
 *
 * @throws the reason of the signal
 */
export const runProgram = async (
  argv: readonly string[],
  { input, timeout, signal }: ProgramOptions,
): Promise<ProgramResult> => {
  signal?.throwIfAborted()
  const result = await execa('setpriv', endsWithUs(argv), {
    ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
    encoding: 'buffer',
    stripFinalNewline: false,
    reject: false,
    timeout,
    killSignal: 'SIGKILL',
    maxBuffer: MAX_OUTPUT,
    // Its own session: no program asks on our terminal, and Ctrl-C is ours.
    detached: true,
    ...(signal && { cancelSignal: signal }),
  })
  signal?.throwIfAborted()
  return {
    exitCode: result.exitCode ?? null,
    stdout: Buffer.from(result.stdout),
    stderr: Buffer.from(result.stderr).toString('utf8').trim(),
    timedOut: result.timedOut,
    missing: systemCode(result.cause) === 'ENOENT' || result.exitCode === 127,
  }
}
