import { GIB, MIB } from '../base/units.ts'
import { mergeNodes } from '../memory/memblock.ts'
import type { NodeRange, Range } from '../memory/range.ts'
import { tdxMemoryRegions } from '../memory/regions.ts'
import { expectationOn } from '../scenario/case.ts'
import { AS_PREDICTED } from '../scenario/expectation.ts'
import { nextKernelOf } from '../scenario/steps.ts'
import type { Evidence, JudgedCase, JudgedKernel } from './context.ts'
import { nextInput } from './predict-next.ts'
import { type Prediction, predictNext } from './prediction.ts'

/** What is judged, and by what. */
export interface Trial {
  readonly item: JudgedCase
  readonly kernel: JudgedKernel
  readonly prediction: Prediction
  readonly evidence: Evidence
}

/** The kernel that the firmware started: its boot ends where the next begins. */
export const firstTrial = (trial: Trial): Trial => {
  const { record, nextFacts } = trial.evidence
  return nextFacts
    ? {
        ...trial,
        evidence: { ...trial.evidence, record: { ...record, end: 'settled' } },
      }
    : trial
}

/** The kernel that it started; undefined: none began. */
export const nextTrial = ({
  item,
  kernel,
  prediction,
  evidence,
}: Trial): Trial | undefined => {
  const { record, nextFacts, tail } = evidence
  const { next } = record
  const asked = nextKernelOf(item.steps)
  const input = nextInput(item, { ...prediction, series: kernel.series })
  if (!next || !nextFacts || !asked || !input) return undefined
  const predicted = predictNext(item, prediction, {
    ...kernel,
    kernelImage: moved(kernel.kernelImage, next.physBase),
  })
  if (!predicted) return undefined
  return {
    item: {
      ...item,
      ...input,
      steps: asked.steps,
      expect: expectationOn(item, kernel.series).next ?? AS_PREDICTED,
      expectOn: {},
    },
    kernel,
    prediction: predicted.handover
      ? withHandover(predicted, nextFacts.nodeRanges)
      : predicted,
    evidence: {
      record: {
        ...record,
        next: undefined,
        start: { ...record.start, cmdline: next.cmdline },
        witnesses: {
          ...record.witnesses,
          memory: next.memory,
          module: next.module,
        },
      },
      facts: nextFacts,
      tail,
    },
  }
}

/** kexec puts the image where it finds room; its parts stay together. */
const moved = (
  image: Range | undefined,
  by: number | null,
): Range | undefined =>
  image && by !== null
    ? { start: image.start + by, end: image.end + by }
    : undefined

/** MAX_ORDER_NR_PAGES: what scratch areas are aligned to. */
const SCRATCH_ALIGNMENT = 4 * MIB

/**
 * Borders that handover can make: of whole GiBs, and of scratch areas, of which
 * there is one in low memory, one anywhere, and one on each node
 * (kho_reserve_scratch(), kernel/liveupdate/kexec_handover.c).
 */
const isPossible = (found: readonly NodeRange[]): boolean => {
  const cuts = found.slice(1).filter(({ start, node }, i) => {
    const before = found[i]!
    return before.end === start && before.node === node
  })
  const ofScratch = cuts.filter(({ start }) => start % GIB !== 0)
  const areas = 2 + new Set(found.map(({ node }) => node)).size
  return (
    ofScratch.length <= 2 * areas &&
    ofScratch.every(({ start }) => start % SCRATCH_ALIGNMENT === 0)
  )
}

/**
 * With kexec handover the memory is that of the model, and some of it is cut:
 * memblock keeps ranges apart where MEMBLOCK_KHO_SCRATCH begins and ends. The
 * flag is on the scratch areas of the kernel before, and on every whole GiB of
 * which that kernel preserves no page (kho_extend_scratch()). Both follow from
 * where it has its pages, so the borders are taken from the console, where they
 * are possible and change no memory. TDMRs have no hole there, and stay as they
 * are.
 */
const withHandover = (
  prediction: Prediction,
  found: readonly NodeRange[],
): Prediction => {
  const { layout } = prediction
  const same =
    JSON.stringify(mergeNodes(found)) === JSON.stringify(layout.memblock)
  if (!same || !isPossible(found)) return prediction
  const regions = tdxMemoryRegions(found)
  const atBoot = prediction.regionsAtBoot
  return {
    ...prediction,
    layout: { ...layout, regions },
    regionsAtBoot: atBoot && atBoot.length > 0 ? regions : atBoot,
  }
}
