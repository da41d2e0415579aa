import { readFile, stat } from 'node:fs/promises'
import { execa } from 'execa'
import { endsWithUs } from '../base/ends-with-us.ts'
import { InfraError, UsageError } from '../base/errors.ts'
import { findProgram } from '../base/paths.ts'
import { visible } from '../base/text.ts'
import { MIB } from '../base/units.ts'

/** Programs of libarchive: they know what distributions pack kernels with. */
type Unpacker = 'bsdtar' | 'bsdcat'

/** The largest kernels have 150 MiB; whoever made a file may say anything. */
const MAX_KERNEL = 512 * MIB

/** What an unpacker came to. */
interface Unpacked {
  readonly stdout: Buffer
  /** What it complains about; empty: nothing. */
  readonly complaint: string
}

export interface UnpackOptions {
  /** What is unpacked, for messages. */
  readonly what: string
  /** Bytes it reads; default: none. */
  readonly input?: Buffer
  /** The most bytes it may print; default: those of a large kernel. */
  readonly most?: number
  /** Complaints that do not count. */
  readonly harmless?: RegExp
  readonly signal?: AbortSignal | undefined
}

/**
 * Runs an unpacker, which ends with the rig. It writes no files, and to us no
 * more than it may.
 */
export const unpack = async (
  program: Unpacker,
  args: readonly string[],
  { what, input, most = MAX_KERNEL, harmless, signal }: UnpackOptions,
): Promise<Unpacked> => {
  if ((await findProgram(program)) === undefined)
    throw new InfraError(
      'NO_PROGRAM',
      `${program} is not in PATH, and ${what} must be unpacked: install it (on Debian: apt install libarchive-tools)`,
    )
  const child = execa('setpriv', endsWithUs([program, ...args]), {
    ...(input ? { input } : { stdin: 'ignore' as const }),
    encoding: 'buffer',
    // Collected below: execa would write all of it into the message of an
    // error, which may be longer than a string can be.
    buffer: { stdout: false },
    reject: false,
    // A locale that is not installed would be a complaint.
    env: { LC_ALL: 'C.UTF-8' },
    ...(signal && { cancelSignal: signal }),
  })
  const chunks: Buffer[] = []
  let size = 0
  child.stdout.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > most) child.kill('SIGKILL')
    else chunks.push(chunk)
  })
  const result = await child
  if (result.isCanceled)
    throw new InfraError('INTERRUPTED', `interrupted while: unpack ${what}`)
  const stdout = Buffer.concat(chunks)
  if (size > most)
    return {
      stdout,
      complaint: `more than ${most / MIB} MiB came out of it`,
    }
  const lines = Buffer.from(result.stderr)
    .toString('utf8')
    .split('\n')
    .filter(line => line !== '' && !harmless?.test(line))
  const failed = result.signal !== undefined || (result.exitCode ?? 0) > 1
  const said = visible(lines.slice(0, 3).join('; ')).slice(0, 300)
  if (said === '' && failed)
    return { stdout, complaint: `${program} ended without a result` }
  return { stdout, complaint: result.failed ? said : '' }
}

/**
 * Bytes of any compression a distribution uses for its kernels and modules.
 *
 * @throws UsageError when they are damaged
 */
export const decompress = async (
  input: Buffer,
  what: string,
  signal?: AbortSignal,
): Promise<Buffer> => {
  const { stdout, complaint } = await unpack('bsdcat', [], {
    what,
    input,
    signal,
  })
  if (complaint !== '')
    throw new UsageError(
      'KERNEL_IMAGE',
      `${what} cannot be unpacked: ${complaint}`,
    )
  return stdout
}

/** The most bytes of the parts of a kernel; debuggers' images are large. */
export const MAX_BYTES = {
  vmlinux: 4096 * MIB,
  image: MAX_KERNEL,
  text: 64 * MIB,
} as const

/** @throws UsageError for a file that no part of a kernel can be */
export const verifySize = async (path: string, most: number): Promise<void> => {
  const { size } = await stat(path)
  if (size > most)
    throw new UsageError(
      'KERNEL_IMAGE',
      `expected a part of a kernel at ${path}, found ${size} bytes: that is larger than any`,
    )
}

/** @throws UsageError for a file that no kernel can be */
export const readImage = async (path: string): Promise<Buffer> => {
  await verifySize(path, MAX_BYTES.image)
  return readFile(path)
}
