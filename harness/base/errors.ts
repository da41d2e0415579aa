/**
 * What went wrong on our side of the fence. A kernel that panics, hangs or
 * fails to initialise TDX is none of these: it is a result.
 */
export abstract class RigError extends Error {
  /** Exit code of the process when this error ends it. */
  abstract readonly exitCode: number
  /** Stable name of the fault, for scripts. */
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}

/** The caller asked for something that cannot be: nothing was booted. */
export class UsageError extends RigError {
  readonly exitCode = 2
}

/** The rig or its surroundings failed: no word about the kernel. */
export class InfraError extends RigError {
  readonly exitCode = 3
}

/** The text of anything that was thrown, on one line where it was one. */
export const messageOf = (thrown: unknown): string =>
  thrown instanceof Error ? thrown.message : String(thrown)

/** The `code` of a Node.js system error, for example `ENOENT`. */
export const systemCode = (thrown: unknown): string | undefined =>
  thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string'
    ? thrown.code
    : undefined
