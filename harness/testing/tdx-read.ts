import type { Register } from '../console/message.ts'
import type { Outcome, Stage } from '../tdx/outcome.ts'
import { factsOf } from './consoles.ts'

/** What must be read from a console about TDX; and nothing that is left out. */
export interface TdxRead {
  readonly outcome: Outcome
  readonly stage?: Stage
  readonly errno?: number
  readonly keyids?: readonly [number, number]
  readonly pamtKib?: number
  /** Major, minor, update, build number and build date. */
  readonly module?: readonly (number | null)[]
  readonly failedRange?: { readonly start: number; readonly end: number }
  readonly cmrs?: readonly (readonly [string | null, number, number])[]
  readonly seamcalls?: readonly {
    readonly leaf: number
    readonly status: bigint
    readonly registers?: Readonly<Partial<Record<Register, bigint>>>
  }[]
}

/** What a reader makes of a console, in the form of {@link expectedRead}. */
export const tdxReadFrom = (console: string): object => {
  const { tdx } = factsOf(console)
  const { module } = tdx
  return {
    outcome: tdx.outcome,
    stage: tdx.stage,
    errno: tdx.errno,
    keyids: tdx.keyids,
    pamtKib: tdx.pamtKib,
    module: module && [
      module.major,
      module.minor,
      module.update,
      module.buildNumber,
      module.buildDate,
    ],
    failedRange: tdx.failedRange,
    cmrs: tdx.cmrs?.map(({ start, end }) => [tdx.cmrName, start, end]) ?? [],
    seamcalls: tdx.failedSeamcalls.map(({ leaf, status, registers }) => ({
      leaf,
      status,
      registers,
    })),
    unknown: tdx.unknown,
  }
}

/** With what must not be read written out. */
export const expectedRead = (read: TdxRead): object => ({
  stage: null,
  errno: null,
  keyids: null,
  pamtKib: null,
  module: null,
  failedRange: null,
  cmrs: [],
  unknown: [],
  ...read,
  seamcalls: (read.seamcalls ?? []).map(call => ({ registers: {}, ...call })),
})
