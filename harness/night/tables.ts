import type {
  ColumnType,
  Generated,
  Insertable,
  Kysely,
  Selectable,
} from 'kysely'
import type { Verdict } from '../judge/context.ts'
import type { CellClass } from './decide.ts'

/** The tables of nights, as migrations make them. Times are the database's. */

type Time = ColumnType<Date, Date | undefined, Date>
type MaybeTime = ColumnType<Date | null, Date | null | undefined, Date | null>

/** What a night is doing, or how it ended. */
export type NightState = 'running' | 'done' | 'stopped'

export interface NightTable {
  readonly id: Generated<number>
  readonly name: string
  /** In the history. */
  readonly label: string
  /** The {@link Plan}, as JSON. */
  readonly plan: string
  readonly started: Time
  readonly ended: MaybeTime
  readonly state: NightState
  /** A token of whoever leads it: another one has taken it, or not. */
  readonly leader: string | null
  /** When whoever leads the night was last heard of. */
  readonly seen: Time
  /** Nights of this name that were begun before it. */
  readonly turn: Generated<number>
  /** What was planned, as it was written, as JSON; null: nobody knows. */
  readonly source: string | null
  /** Where its reports go, on the machine that leads. */
  readonly folder: string | null
}

export interface KernelTable {
  readonly night_id: number
  readonly name: string
  /** How it is obtained, as JSON: workers need no other file. */
  readonly recipe: string
  /** Where its source comes from, for people. */
  readonly origin: string | null
  readonly state: 'wanted' | 'building' | 'built' | 'failed'
  /** Builds that a fault of a machine has ended. */
  readonly faults: Generated<number>
  readonly key: string | null
  readonly release: string | null
  readonly message: string | null
}

export interface CellTable {
  readonly night_id: number
  readonly cell: number
  /** Of the case: `group/scenario@kernel`, `@host` or `@label`. */
  readonly id: string
  readonly kernel: string
  /** A name of the plan's machines. */
  readonly target: string
  readonly scenario: string
  /** The cell as it is written, as JSON. */
  readonly input: string
  /** Places that can boot it, as JSON; see {@link PlaceName}. */
  readonly places: string
  readonly estimate_ms: number
  /** Boots of it, when it passes. */
  readonly repeat: number
  /** Null: it is still open. */
  readonly class: CellClass | null
  /** Why, where no attempt says it. */
  readonly note: string | null
}

export interface AttemptTable {
  readonly night_id: number
  readonly cell: number
  /** From 1. */
  readonly number: number
  /** Why it is booted: `first`, `same machine` ... */
  readonly reason: string
  readonly place: string
  /** The only machine that may boot it; null: any. */
  readonly only_machine: string | null
  /** A machine that must not. */
  readonly not_machine: string | null
  readonly state: 'queued' | 'running' | 'done'
  /** How often a worker died with it. */
  readonly lost: number
  readonly worker: string | null
  readonly started: MaybeTime
  readonly ended: MaybeTime
  readonly verdict: Verdict | null
  /** What booted it: a worker for QEMU, or a host. */
  readonly machine: string | null
  readonly total_ms: number | null
  /** What went wrong before there was a case; null: nothing. */
  readonly message: string | null
  /** The result of the case: JSON, packed with gzip. */
  readonly body: Uint8Array | null
  /** The console of a boot that did not pass, packed with gzip. */
  readonly console: Uint8Array | null
}

export interface WorkerTable {
  readonly name: string
  readonly state: 'up' | 'draining' | 'lost' | 'gone'
  readonly started: Time
  readonly seen: Time
  /** Under which names it holds jobs of the queue, as JSON. */
  readonly pools: string
  /** What it can do, as JSON. */
  readonly offer: string
  /** Why it takes no cases; null: it does. */
  readonly unfit: string | null
  /** Machine and process, for people. */
  readonly process: string
}

export interface HostTable {
  readonly night_id: number
  readonly host: string
  /** What it is, as JSON; null: it was not reached. */
  readonly found: string | null
  readonly message: string | null
  /** Faults of it in a row. */
  readonly errors: number
  /** Why it is given no further case. */
  readonly aside: string | null
  /** It was given back at the end; what went wrong where it was not. */
  readonly home: string | null
}

export interface EventTable {
  readonly id: Generated<number>
  /** Null: it concerns no night. */
  readonly night_id: number | null
  readonly at: Time
  readonly kind: string
  readonly text: string
}

/** A kernel that can be copied to other machines. */
export interface ArtefactTable {
  readonly key: string
  readonly name: string
  readonly sha256: string
  readonly bytes: number
  readonly parts: number
  readonly used: Time
}

export interface ArtefactPartTable {
  readonly key: string
  readonly part: number
  readonly body: Uint8Array
}

export interface NightTables {
  readonly nights: NightTable
  readonly night_kernels: KernelTable
  readonly night_cells: CellTable
  readonly night_attempts: AttemptTable
  readonly night_workers: WorkerTable
  readonly night_hosts: HostTable
  readonly night_events: EventTable
  readonly night_artefacts: ArtefactTable
  readonly night_artefact_parts: ArtefactPartTable
}

export type NightDatabase = Kysely<NightTables>

export type AttemptRow = Selectable<AttemptTable>
export type CellRow = Selectable<CellTable>
export type NewCell = Insertable<CellTable>
