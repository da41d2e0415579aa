import { PAGE_SIZE, formatSize, hex } from '../../base/units.ts'
import type { Facts } from '../../console/facts.ts'
import { kernelWords } from '../../memory/cmdline.ts'
import { headroomOf } from '../../memory/headroom.ts'
import { type Range, sizeOf, totalSize } from '../../memory/range.ts'
import { MODULE_LIMITS } from '../../tdx/metadata-values.ts'
import { type LogPrediction, predictFromLog } from '../log-prediction.ts'

/** Memory that is given up, and the parameters that do it. */
export interface GivenUp {
  readonly words: readonly string[]
  readonly bytes: number
  /** Reserved areas that are left where most are needed. */
  readonly areasLeft: number
}

/** A command line has room for no more; nobody would type them either. */
const MAX_WORDS = 16

/**
 * The least memory that must be reserved with memmap= so that no TDMR has too
 * many holes: of each piece between two holes that goes, the two become one.
 * What is offered was tried on the model.
 *
 * @param prediction of a log on which reserved areas are exhausted
 * @returns undefined where that does not help, or is not known to
 */
export const usableToGiveUp = (
  facts: Facts,
  prediction: LogPrediction,
): GivenUp | undefined => {
  if (prediction.outcome?.stage !== 'reserved-areas') return undefined
  if (excessOf(prediction) > MAX_WORDS) return undefined
  const given: Range[] = []
  let current = prediction
  while (given.length < MAX_WORDS) {
    const { outcome, layout } = current
    if (outcome?.outcome === 'initialized')
      return {
        words: given.map(wordOf),
        bytes: totalSize(given),
        areasLeft: areasLeft(current),
      }
    const range = outcome?.range ?? outOfAreas(current)
    const tdmr = layout.tdmrs.find(({ start }) => start === range?.start)
    const piece = tdmr && smallestPiece(tdmr.holes)
    if (!piece) return undefined
    given.push(piece)
    current = predictFromLog({
      ...facts,
      userMap: null,
      nodeRanges: [],
      cmdline: [...kernelWords(facts.cmdline ?? ''), ...given.map(wordOf)].join(
        ' ',
      ),
    })
  }
  return undefined
}

const areasLeft = ({ layout }: LogPrediction): number => {
  const { reservedAreas } = headroomOf(layout)
  return reservedAreas ? reservedAreas.max - reservedAreas.atMost : 0
}

/** Areas that a TDMR needs beyond what the module takes. */
const excessOf = ({ layout }: LogPrediction): number =>
  Math.max(
    0,
    ...layout.tdmrs.map(
      ({ holes, pamtAreas }) =>
        holes.length + pamtAreas.min - MODULE_LIMITS.maxReservedPerTdmr,
    ),
  )

/** Where a PAMT may or may not fall into the TDMR, it might be too much. */
const outOfAreas = ({ layout }: LogPrediction): Range | undefined =>
  layout.tdmrs.reduce<LogPrediction['layout']['tdmrs'][number] | undefined>(
    (most, tdmr) =>
      !most || tdmr.holes.length > most.holes.length ? tdmr : most,
    undefined,
  )

const smallestPiece = (holes: readonly Range[]): Range | undefined => {
  const pieces = holes
    .slice(1)
    .map((hole, i) => ({ start: holes[i]!.end, end: hole.start }))
    .filter(({ start, end }) => start < end && start % PAGE_SIZE === 0)
  return pieces.sort((a, b) => sizeOf(a) - sizeOf(b))[0]
}

const wordOf = (range: Range): string =>
  `memmap=${formatSize(sizeOf(range))}$${hex(range.start)}`
