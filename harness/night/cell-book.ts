import { type AttemptState, attemptsOf } from './attempts.ts'
import type { CellClass, Tried } from './decide.ts'
import { cellsOf, classifyCells } from './nights.ts'
import type { PlaceName } from './plan.ts'
import type { NightDatabase } from './tables.ts'

/** A cell, as far as it is decided. */
export interface CellState {
  readonly cell: number
  readonly id: string
  readonly kernel: string
  readonly places: readonly PlaceName[]
  readonly estimateMs: number
  readonly repeat: number
  readonly tried: readonly Tried[]
  /** The boot that is queued or under way. */
  readonly given: { readonly number: number; readonly place: PlaceName } | null
  /** Null: it is still open. */
  readonly class: CellClass | null
}

/** How far a night is. */
export interface NightProgress {
  readonly cells: number
  readonly open: number
  /** Queued or under way. */
  readonly given: number
  readonly classes: Readonly<Partial<Record<CellClass, number>>>
}

/**
 * The cells of a night in memory, each change in one place: looking at what is
 * under way does not cost more when there are more cells.
 */
export class CellBook {
  readonly #states: Map<number, CellState>
  readonly #given = new Set<number>()
  readonly #perPlace = new Map<PlaceName, number>()
  readonly #classes: Partial<Record<CellClass, number>> = {}
  #open = 0
  /** Classes that are not stored yet. */
  readonly #news = new Map<
    number,
    { readonly class: CellClass; readonly note: string | null }
  >()

  private constructor(states: readonly CellState[]) {
    this.#states = new Map()
    for (const state of states) {
      this.#states.set(state.cell, state)
      if (state.class === null) this.#open++
      else this.#classes[state.class] = (this.#classes[state.class] ?? 0) + 1
      if (state.given) this.#count(state.given.place, state.cell, 1)
    }
  }

  static async load(db: NightDatabase, night: number): Promise<CellBook> {
    const attempts = new Map<number, AttemptState[]>()
    for (const attempt of await attemptsOf(db, night)) {
      const its = attempts.get(attempt.cell)
      if (its) its.push(attempt)
      else attempts.set(attempt.cell, [attempt])
    }
    return new CellBook(
      (await cellsOf(db, night)).map(row => {
        const its = attempts.get(row.cell) ?? []
        const open = its.find(({ state }) => state !== 'done')
        return {
          cell: row.cell,
          id: row.id,
          kernel: row.kernel,
          places: JSON.parse(row.places) as PlaceName[],
          estimateMs: row.estimate_ms,
          repeat: row.repeat,
          tried: its.flatMap(triedOf),
          given: open ? { number: open.number, place: open.place } : null,
          class: row.class,
        }
      }),
    )
  }

  at(cell: number): CellState {
    const state = this.#states.get(cell)
    if (!state) throw new TypeError(`the night has no cell ${cell}`)
    return state
  }

  /** Cells that are neither settled nor given out. */
  *idle(): Generator<CellState> {
    for (const state of this.#states.values())
      if (state.class === null && state.given === null) yield state
  }

  /** Cells that are queued or under way. */
  given(): CellState[] {
    return [...this.#given].map(cell => this.at(cell))
  }

  /** How many boots a place was given. */
  givenTo(place: PlaceName): number {
    return this.#perPlace.get(place) ?? 0
  }

  give(cell: number, place: PlaceName): CellState {
    const before = this.at(cell)
    const state = {
      ...before,
      given: { number: before.tried.length + 1, place },
    }
    this.#states.set(cell, state)
    this.#count(place, cell, 1)
    return state
  }

  /** A boot is over, or was taken back. */
  takeBack(cell: number, attempt?: AttemptState): CellState {
    const before = this.at(cell)
    if (before.given) this.#count(before.given.place, cell, -1)
    const state = {
      ...before,
      given: null,
      tried: [...before.tried, ...(attempt ? triedOf(attempt) : [])],
    }
    this.#states.set(cell, state)
    return state
  }

  settle(cell: number, is: CellClass, note: string | null): void {
    const before = this.at(cell)
    if (before.class !== null) return
    this.#states.set(cell, { ...before, class: is })
    this.#open--
    this.#classes[is] = (this.#classes[is] ?? 0) + 1
    this.#news.set(cell, { class: is, note })
  }

  /** Stores what was settled since the last time. */
  async store(db: NightDatabase, night: number): Promise<void> {
    await classifyCells(db, night, this.#news)
    this.#news.clear()
  }

  get progress(): NightProgress {
    return {
      cells: this.#states.size,
      open: this.#open,
      given: this.#given.size,
      classes: { ...this.#classes },
    }
  }

  #count(place: PlaceName, cell: number, by: 1 | -1): void {
    this.#perPlace.set(place, this.givenTo(place) + by)
    if (by > 0) this.#given.add(cell)
    else this.#given.delete(cell)
  }
}

const triedOf = ({ state, verdict, machine }: AttemptState): Tried[] =>
  state === 'done' && verdict !== null
    ? [{ verdict, machine: machine ?? '' }]
    : []
