import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import * as z from 'zod'
import { DEFAULT_BOARD, type FoundMachine, foundBoard } from '../board/index.ts'
import { predictCase } from '../judge/prediction.ts'
import { caseDocument, resultDocument } from '../report/document.ts'
import type { Reproduce, RunHead } from '../report/reporter.ts'
import {
  type CaseResult,
  type ResultDocument,
  caseSchema,
} from '../report/schema.ts'
import { buildScenario, caseOf, isRefused } from '../scenario/build.ts'
import type { CellClass } from './decide.ts'
import { type NightEvent, eventsOf } from './events.ts'
import { type KernelState, type Night, cellsOf, kernelsOf } from './nights.ts'
import { type PlaceName, hostOf } from './plan.ts'
import type { AttemptRow, CellRow, NightDatabase } from './tables.ts'

/** What a night has shown, put together from what was stored. */

const unpack = promisify(gunzip)

/** A boot of a cell. */
export interface NightAttempt {
  readonly reason: string
  readonly machine: string | null
  readonly verdict: CaseResult['verdict']
  readonly totalMs: number
  readonly message: string | null
  /** How often a worker died with it. */
  readonly lost: number
}

/** A cell, and what became of it. */
export interface NightCell {
  readonly id: string
  readonly kernel: string
  readonly target: string
  readonly scenario: string
  readonly class: CellClass
  readonly note: string | null
  readonly attempts: readonly NightAttempt[]
  /** Of boots that were judged, those that failed. */
  readonly rate: { readonly failed: number; readonly boots: number }
}

export interface NightResult {
  readonly night: Night
  readonly kernels: readonly KernelState[]
  readonly cells: readonly NightCell[]
  readonly events: readonly NightEvent[]
  readonly document: ResultDocument
  /** Consoles of boots that did not pass, by case; packed with gzip. */
  readonly consoles: ReadonlyMap<string, Uint8Array>
}

export interface MorningOptions {
  readonly version: string
  readonly reproduce: Reproduce
}

/** @throws TypeError for a night that was not planned */
export const nightResult = async (
  db: NightDatabase,
  night: Night,
  options: MorningOptions,
): Promise<NightResult> => {
  const cells = await cellsOf(db, night.id)
  const kernels = await kernelsOf(db, night.id)
  const boards = await foundOf(db, night.id)
  const results: CaseResult[] = []
  const consoles = new Map<string, Uint8Array>()
  const shown: NightCell[] = []
  for await (const [cell, its] of withAttempts(db, night.id, cells)) {
    const one = nightCell(cell, its)
    shown.push(one)
    const told = toldAttempt(one.class, its)
    results.push(
      told?.body
        ? await kept(one, told)
        : unbooted(one, cell, { ...options, kernels, boards, told }),
    )
    const failing = its.find(({ console }) => console !== null)
    if (failing?.console) consoles.set(cell.id, failing.console)
  }
  return {
    night,
    kernels,
    cells: shown,
    events: await eventsOf(db, night.id),
    document: resultDocument(
      headOf(night, { kernels, shown, results, version: options.version }),
      { durationMs: night.elapsedMs, interrupted: false },
      results,
    ),
    consoles,
  }
}

/** Cells whose boots are read at once: each boot has a body, and a console. */
const CELLS = 200

async function* withAttempts(
  db: NightDatabase,
  night: number,
  cells: readonly CellRow[],
): AsyncGenerator<readonly [CellRow, readonly AttemptRow[]]> {
  for (let at = 0; at < cells.length; at += CELLS) {
    const some = cells.slice(at, at + CELLS)
    const attempts = new Map<number, AttemptRow[]>(
      some.map(({ cell }) => [cell, []]),
    )
    const rows = await db
      .selectFrom('night_attempts')
      .selectAll()
      .where('night_id', '=', night)
      .where('state', '=', 'done')
      .where('cell', 'in', [...attempts.keys()])
      .orderBy('number')
      .execute()
    for (const row of rows) attempts.get(row.cell)!.push(row)
    for (const cell of some) yield [cell, attempts.get(cell.cell)!]
  }
}

const isFailure = ({ verdict }: Pick<AttemptRow, 'verdict'>): boolean =>
  verdict === 'fail' || verdict === 'invalid'

const nightCell = (
  cell: CellRow,
  attempts: readonly AttemptRow[],
): NightCell => {
  const judged = attempts.filter(
    ({ verdict }) => verdict === 'pass' || isFailure({ verdict }),
  )
  return {
    id: cell.id,
    kernel: cell.kernel,
    target: cell.target,
    scenario: cell.scenario,
    class: cell.class ?? 'not run',
    note: cell.note,
    attempts: attempts.map(
      ({ reason, machine, verdict, total_ms, message, lost }) => ({
        reason,
        machine,
        verdict: verdict ?? 'error',
        totalMs: total_ms ?? 0,
        message,
        lost,
      }),
    ),
    rate: { failed: judged.filter(isFailure).length, boots: judged.length },
  }
}

/**
 * The boot that a cell is told by: of a failure the first that failed; of a
 * flaky one, which is no failure, one that passed; else the last.
 */
const toldAttempt = (
  is: CellClass,
  attempts: readonly AttemptRow[],
): AttemptRow | undefined => {
  switch (is) {
    case 'fail':
    case 'invalid':
    case 'unconfirmed':
      return attempts.find(isFailure)
    case 'flaky':
    case 'pass':
      return attempts.findLast(({ verdict }) => verdict === 'pass')
    case 'error':
    case 'skip':
    case 'not run':
      return attempts.at(-1)
  }
}

const kept = async (
  cell: NightCell,
  { body }: AttemptRow,
): Promise<CaseResult> => ({
  ...caseSchema.parse(JSON.parse((await unpack(body!)).toString('utf8'))),
  id: cell.id,
  attempts: cell.attempts.map(({ verdict, totalMs }) => ({ verdict, totalMs })),
})

/** Of a cell that came to no boot, or to none that left anything. */
const unbooted = (
  { id, kernel, note, class: is, attempts, scenario }: NightCell,
  { input, places }: CellRow,
  {
    kernels,
    boards,
    told,
    reproduce,
  }: MorningOptions & {
    readonly kernels: readonly KernelState[]
    readonly boards: ReadonlyMap<string, FoundMachine>
    readonly told: AttemptRow | undefined
  },
): CaseResult => {
  const [place = ''] = JSON.parse(places) as PlaceName[]
  const found = boards.get(hostOf(place) ?? '')
  const built = buildScenario(
    JSON.parse(input),
    found ? foundBoard(found) : DEFAULT_BOARD,
  )
  if (isRefused(built))
    throw new TypeError(`${id} was built when it was planned`)
  const item = caseOf(built, { id, scenario, kernel })
  const isError = is === 'error'
  return {
    ...caseDocument(
      {
        kind: isError ? 'error' : 'skip',
        item,
        kernel: {
          name: kernel,
          key: kernels.find(({ name }) => name === kernel)?.key ?? 'not built',
          build: undefined,
        },
        prediction: predictCase(item, { series: undefined }),
        message: told?.message ?? note ?? 'it was not booted',
      },
      reproduce,
    ),
    attempts: attempts.map(({ verdict, totalMs }) => ({ verdict, totalMs })),
  }
}

const foundOf = async (
  db: NightDatabase,
  night: number,
): Promise<Map<string, FoundMachine>> => {
  const rows = await db
    .selectFrom('night_hosts')
    .select(['host', 'found'])
    .where('night_id', '=', night)
    .execute()
  return new Map(
    rows.flatMap(({ host, found }) =>
      found === null
        ? []
        : [[host, z.custom<FoundMachine>().parse(JSON.parse(found))] as const],
    ),
  )
}

const headOf = (
  { started }: Night,
  {
    kernels,
    shown,
    results,
    version,
  }: {
    readonly kernels: readonly KernelState[]
    readonly shown: readonly NightCell[]
    readonly results: readonly CaseResult[]
    readonly version: string
  },
): Omit<RunHead, 'cases'> => {
  const machines = new Set(
    shown.flatMap(({ attempts }) =>
      attempts.flatMap(({ machine }) => machine ?? []),
    ),
  )
  const boards = new Set(results.map(({ machine }) => machine.board))
  return {
    rig: {
      version,
      machine: [...machines].sort().join(', ') || 'no machine',
      board: [...boards].sort().join(', '),
    },
    started,
    kernels: kernels.flatMap(({ name, key, release, origin }) =>
      key === null
        ? []
        : [{ name, key, release, ...(origin !== null && { source: origin }) }],
    ),
  }
}

/** How many cells are of each class. */
export const countClasses = (
  cells: readonly Pick<NightCell, 'class'>[],
): Partial<Record<CellClass, number>> => {
  const counts: Partial<Record<CellClass, number>> = {}
  for (const { class: is } of cells) counts[is] = (counts[is] ?? 0) + 1
  return counts
}
