import type { Recipe } from '../kernel/recipe.ts'
import type { Policy } from './decide.ts'
import type { Target } from './plan-file.ts'

/**
 * Where cases are booted, as the queue knows it: `qemu`, `qemu-kvm`, or
 * `host:NAME`. Workers take jobs of the places they offer.
 */
export type PlaceName = string

export const hostPlace = (host: string): PlaceName => `host:${host}`

/** The host of a place; undefined: it is QEMU. */
export const hostOf = (place: PlaceName): string | undefined =>
  place.startsWith('host:') ? place.slice('host:'.length) : undefined

/** Guests that only KVM may run have a place of their own. */
export const qemuPlace = (accel: 'auto' | 'tcg' | 'kvm'): PlaceName =>
  accel === 'auto' ? 'qemu' : `qemu-${accel}`

export const QEMU_PLACES: readonly PlaceName[] = [
  'qemu',
  'qemu-tcg',
  'qemu-kvm',
]

/** A kernel of a night, with its source pinned. */
export interface PlannedKernel {
  readonly name: string
  readonly recipe: Recipe
  /** The recipe it is like, which scenarios may name. */
  readonly like: string
  /** Where its source comes from; null: the recipe says it. */
  readonly origin: Origin | null
}

/** Where a kernel comes from, for people and for a bisect. */
export interface Origin {
  readonly text: string
  /** Repository and commit; null: it is no commit. */
  readonly commit: { readonly tree: string; readonly hash: string } | null
}

/** A case of the night. */
export interface PlannedCell {
  readonly id: string
  readonly kernel: string
  readonly target: string
  /** The scenario file. */
  readonly scenario: string
  /** The cell as it is written. */
  readonly input: unknown
  /** What its matrix set, as `key=value`: what pairs are made of. */
  readonly values: readonly string[]
  /** Where it can be booted; none: it suits no machine, or there is none. */
  readonly places: readonly PlaceName[]
  /** False: the machines it is for are not there, so it is not run. */
  readonly isOffered: boolean
  readonly estimateMs: number
  readonly repeat: number
  /** Why it is not booted; null: it is. */
  readonly note: string | null
}

/** What was taken out of a matrix that is too large for the night. */
export interface Reduction {
  readonly cells: number
  readonly kept: number
  readonly neededMs: number
  readonly budgetMs: number
  /** What was kept does not fit either. */
  readonly isTight: boolean
}

/** What a night does, as it is kept: everything that was decided beforehand. */
export interface Plan {
  readonly name: string
  readonly label: string
  readonly file: string
  readonly targets: Readonly<Record<string, Target>>
  readonly policy: Omit<Policy, 'repeat'>
  readonly bisect: number
  /** Null: as long as it takes. */
  readonly budgetMs: number | null
  readonly release: string | null
  readonly keep: {
    readonly nights: number | null
    readonly days: number | null
  }
  readonly reduction: Reduction | null
  /** Runs that another night will make. */
  readonly otherNights: readonly string[]
  /** The machine that has the source of a kernel, by name; else any may. */
  readonly builtOn: Readonly<Record<string, string>>
  /** Recipes that kernels are like, by name. */
  readonly likes: Readonly<Record<string, string>>
  /** Origins of kernels, by name. */
  readonly origins: Readonly<Record<string, Origin | null>>
}
