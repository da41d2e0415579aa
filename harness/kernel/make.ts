import { createWriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { endsWithUs } from '../base/ends-with-us.ts'
import { InfraError } from '../base/errors.ts'
import { cacheRoot, findProgram } from '../base/paths.ts'

/** What a build is doing; `files` counts what was compiled or linked. */
export interface BuildProgress {
  readonly phase: string
  readonly files: number
}
export type OnProgress = (progress: BuildProgress) => void

/** Only what a build needs: what is not in the cache's key stays out. */
const environment = (): Record<string, string> => ({
  ...ccacheEnvironment(),
  PATH: process.env['PATH'] ?? '/usr/bin:/bin',
  HOME: process.env['HOME'] ?? '/',
  LC_ALL: 'C',
  KBUILD_BUILD_TIMESTAMP: 'Thu Jan  1 00:00:00 UTC 1970',
  KBUILD_BUILD_USER: 'tdxrig',
  KBUILD_BUILD_HOST: 'tdxrig',
})

/**
 * ccache compiles a file only when it was never compiled before, wherever its
 * tree lies: kernels that differ in a patch cost little more than a link. Not
 * needed, and what comes out is the same. It takes the headers of a file from
 * what the compiler wrote (Kbuild asks for it): without that it preprocesses
 * each file a second time, and a first build takes 1.6 times as long. So it
 * still takes 1.2 times as long as with no ccache.
 */
const ccacheEnvironment = (): Record<string, string> => ({
  CCACHE_DIR: join(cacheRoot(), 'ccache'),
  CCACHE_NOHASHDIR: '1',
  CCACHE_DEPEND: '1',
  CCACHE_MAXSIZE: '2G',
})

const COMPILERS = ['CC=ccache gcc', 'HOSTCC=ccache gcc']

/** How the steps of a build are run. */
export interface LogOptions {
  /** Ends the step that runs. */
  readonly signal?: AbortSignal | undefined
  /** What is compiled may be compiled again; default: it may. */
  readonly usesCcache?: boolean
}

export interface Command {
  /** What a person reads while it runs. */
  readonly phase: string
  readonly file: string
  readonly args: readonly string[]
  readonly cwd: string
}

/** Runs the steps of a build and keeps all they say in one log. */
export class BuildLog {
  readonly path: string
  readonly #onProgress: OnProgress
  /** Ends the step that runs. */
  readonly signal: AbortSignal | undefined
  readonly #usesCcache: boolean
  #files = 0

  constructor(
    path: string,
    onProgress: OnProgress,
    { signal, usesCcache = true }: LogOptions = {},
  ) {
    this.path = path
    this.#onProgress = onProgress
    this.signal = signal
    this.#usesCcache = usesCcache
  }

  /** A step that is not a command of its own. */
  announce(phase: string): void {
    this.#onProgress({ phase, files: this.#files })
  }

  /** @throws InfraError with the lines that say why it failed */
  async run({ phase, file, args, cwd }: Command): Promise<void> {
    this.announce(phase)
    const log = createWriteStream(this.path, { flags: 'a' })
    let broken: Error | undefined
    log.on('error', error => {
      broken ??= error
    })
    log.write(`\n$ cd ${cwd} && ${[file, ...args].join(' ')}\n`)
    const child = execa('setpriv', endsWithUs([file, ...args]), {
      cwd,
      env: environment(),
      extendEnv: false,
      stdin: 'ignore',
      all: true,
      buffer: false,
      reject: false,
      ...(this.signal && { cancelSignal: this.signal }),
    })
    child.all.on('data', (chunk: Buffer) => {
      log.write(chunk)
    })
    for await (const line of child.iterable({ from: 'stdout' })) {
      // Kbuild's short form: "  CC      kernel/fork.o".
      if (!/^ {2}[A-Z]/.test(line)) continue
      this.#files++
      this.#onProgress({ phase, files: this.#files })
    }
    const result = await child
    await new Promise(resolve => log.end(resolve))
    if (broken)
      throw new InfraError(
        'BUILD_LOG',
        `cannot write the build log ${this.path}: ${broken.message}`,
      )
    if (result.isCanceled)
      throw new InfraError('INTERRUPTED', `interrupted while: ${phase}`)
    if (result.failed) throw await this.#failure(phase, result.exitCode)
  }

  /** make, with as many jobs as there are CPUs. */
  async make(
    phase: string,
    cwd: string,
    args: readonly string[],
  ): Promise<void> {
    const jobs = `-j${availableParallelism()}`
    // LLVM=1 names its own compiler.
    const ccache =
      this.#usesCcache &&
      !args.includes('LLVM=1') &&
      (await findProgram('ccache')) !== undefined
    const compilers = ccache ? COMPILERS : []
    await this.run({
      phase,
      file: 'make',
      cwd,
      args: [jobs, ...compilers, ...args],
    })
  }

  /** `BUILD_FAULT` is of this machine, `BUILD_FAILED` of what is built. */
  async #failure(phase: string, code: number | undefined): Promise<InfraError> {
    const log = await readFile(this.path, 'utf8')
    const lines = errorLines(log)
    return new InfraError(
      MACHINE_FAULT.test(log) ? 'BUILD_FAULT' : 'BUILD_FAILED',
      `${phase} failed (exit code ${code ?? 'none'}):\n` +
        lines.map(line => `  ${line}`).join('\n') +
        `\n  the whole log: ${this.path}`,
    )
  }
}

/**
 * The machine ended the build, and the kernel's source says nothing: no room,
 * no memory, a program that was killed (GCC's driver, gcc/gcc.cc, execute()).
 */
const MACHINE_FAULT =
  /No space left on device|Read-only file system|Cannot allocate memory|Input\/output error|fatal error: Killed signal terminated program/

const MAX_ERROR_LINES = 20

/** The lines of a build log that name the error; its tail when none does. */
export const errorLines = (log: string): string[] => {
  const lines = log.trimEnd().split('\n')
  const telling = lines.filter(line =>
    /\b(?:fatal )?error: |: undefined reference to |\*\*\* |^ERROR: |No space left/i.test(
      line,
    ),
  )
  return telling.length > 0
    ? telling.slice(0, MAX_ERROR_LINES)
    : lines.slice(-MAX_ERROR_LINES)
}
