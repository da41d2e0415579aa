import type { ColumnType, Generated } from 'kysely'
import type { Verdict } from '../judge/context.ts'
import type { CaseResult } from '../report/schema.ts'

/** The tables of a history, as migrations make them. */

interface RunTable {
  readonly id: Generated<number>
  /** SHA-256 of the document: the same run is kept once. */
  readonly digest: string
  /** Of the document: `tdxrig.result/3`. */
  readonly schema: string
  readonly started: ColumnType<Date, string, never>
  /** What is tested, as the user calls it: runs of one label are compared. */
  readonly label: string
  readonly machine: string
  readonly board: string
  readonly rig_version: string
  readonly duration_ms: number
  readonly interrupted: boolean
  /** JSON; as text, since jsonb takes no NUL. */
  readonly kernels: string
  readonly pass: number
  readonly fail: number
  readonly invalid: number
  readonly error: number
  readonly skip: number
}

/** Ids of cases are long, and the same every night. */
interface CaseTable {
  readonly id: Generated<number>
  readonly name: string
}

/** What is the same in most nights: everything but times. */
interface DetailTable {
  readonly id: Generated<number>
  readonly digest: string
  /** JSON, packed with gzip. */
  readonly body: Uint8Array
}

interface ResultTable {
  readonly run_id: number
  readonly case_id: number
  readonly detail_id: number
  readonly verdict: Verdict
  readonly total_ms: number
  /** Boots in that run that were judged, and how many of them passed. */
  readonly attempts: number
  readonly passed: number
  /** What the layout needs by the model, and what the module takes. */
  readonly tdmrs: number
  readonly tdmrs_max: number
  readonly areas: number | null
  readonly areas_max: number | null
  readonly pamt_kib: number
  /** What differs from boot to boot. */
  readonly volatile: string
}

/** Parts of a case's result that no two boots have in common; JSON in a row. */
export type Volatile = Pick<CaseResult, 'timing' | 'attempts' | 'cmdline'>

interface BaselineTable {
  readonly name: string
  readonly run_id: number
}

export interface HistoryTables {
  readonly runs: RunTable
  readonly cases: CaseTable
  readonly details: DetailTable
  readonly results: ResultTable
  readonly baselines: BaselineTable
}
