import type { Facts } from '../../console/facts.ts'
import type { LogPrediction } from '../../judge/log-prediction.ts'
import { type E820Entry, e820TypeName } from '../../memory/e820.ts'
import { mergeNodes } from '../../memory/memblock.ts'
import type { Layout } from '../../memory/predict.ts'
import type { Range } from '../../memory/range.ts'
import type { CaseResult } from '../schema.ts'
import type { Sides } from './picture.ts'
import type { Drawn, DrawnTdmr, NamedRange, OnNode } from './rows.ts'

/** What a picture is drawn from: a prediction, a log, a case's result. */

const named = ({ start, end, type }: E820Entry): NamedRange => ({
  start,
  end,
  type: e820TypeName(type),
})

/** What the model knows of a layout. */
interface Modelled {
  readonly firmwareMap: readonly NamedRange[]
  readonly userMap: readonly NamedRange[] | null
  readonly memblock: readonly OnNode[]
  readonly regions: readonly OnNode[]
  readonly tdmrs: readonly DrawnTdmr[]
}

const modelled = (layout: Layout): Modelled => ({
  firmwareMap: (layout.extendedMap ?? layout.firmwareMap).map(named),
  userMap: layout.userMap?.map(named) ?? null,
  memblock: layout.memblock,
  regions: layout.regions,
  tdmrs: layout.tdmrs.map(({ start, end, holes }) => ({
    start,
    end,
    reserved: holes,
    pamts: [],
  })),
})

const alone = <T>(predicted: readonly T[] | null): Sides<T> => ({
  predicted,
  built: null,
})

/** Of a layout that nobody booted. */
export const drawnLayout = (
  layout: Layout,
  { cmdline, cmrs }: { cmdline: string; cmrs: readonly Range[] | null },
): Drawn => {
  const { firmwareMap, userMap, memblock, regions, tdmrs } = modelled(layout)
  return {
    cmdline,
    firmwareMap: alone(firmwareMap),
    userMap: alone(userMap),
    memblock: alone(memblock),
    regions: alone(regions),
    expectedRegions: null,
    tdmrs: alone(tdmrs),
    cmrs: alone(cmrs),
  }
}

/** Of a log: what its kernel printed, beside what the model makes of it. */
export const drawnLog = (
  facts: Facts,
  { layout, basis, words }: LogPrediction,
): Drawn => {
  const drawn = drawnLayout(layout, {
    cmdline: words.join(' '),
    cmrs: facts.tdx.cmrs,
  })
  const nodes = mergeNodes(facts.nodeRanges)
  return {
    ...drawn,
    userMap: {
      ...drawn.userMap,
      built: drawn.userMap.predicted && (facts.userMap?.map(named) ?? null),
    },
    memblock: {
      ...drawn.memblock,
      // Where the log's own ranges count, there is nothing beside them.
      built: basis === 'console' || !facts.whole.nodeRanges ? null : nodes,
    },
    regions: { ...drawn.regions, built: facts.tdx.regions },
  }
}

/** The regions a kernel built, as far as somebody saw them. */
export const builtRegions = ({
  regions,
}: Pick<CaseResult, 'regions'>): readonly OnNode[] | null =>
  filled((regions.memory ?? regions.printed)?.map(nodeOf))

/** Of what came of a case. */
export const drawnCase = (result: CaseResult): Drawn => {
  const { layout, seen, regions, tdmrs, platform } = result
  return {
    cmdline: result.cmdline?.effective ?? result.words.join(' '),
    firmwareMap: {
      predicted: (layout.extendedMap ?? layout.firmwareMap).map(entryOf),
      built: filled((seen?.extendedMap ?? seen?.firmwareMap)?.map(entryOf)),
    },
    userMap: bothOrNone({
      predicted: layout.userMap?.map(entryOf) ?? null,
      built: seen?.userMap?.map(entryOf) ?? null,
      seen: seen !== null,
    }),
    memblock: {
      predicted: layout.memblock.map(nodeOf),
      built: filled(seen?.memblock.map(nodeOf)),
    },
    regions: {
      predicted: regions.predicted.map(nodeOf),
      built: builtRegions(result),
    },
    expectedRegions: regions.expected?.map(nodeOf) ?? null,
    tdmrs: {
      predicted: layout.tdmrs.map(({ holes, ...span }) => ({
        ...spanOf(span),
        reserved: holes.map(rangeOf),
        pamts: [],
      })),
      built:
        tdmrs?.map(({ reserved, pamt, ...span }) => ({
          ...spanOf(span),
          reserved: reserved.map(spanOf),
          pamts: pamt.map(spanOf),
        })) ?? null,
    },
    cmrs: {
      predicted: platform.cmrs.map(rangeOf),
      built: seen?.cmrs?.map(rangeOf) ?? null,
    },
  }
}

/** A map that one side has and the other has not is a difference. */
const bothOrNone = <T>({
  predicted,
  built,
  seen,
}: Sides<T> & { readonly seen: boolean }): Sides<T> =>
  seen && (predicted ?? built)
    ? { predicted: predicted ?? [], built: built ?? [] }
    : { predicted, built }

/** A kernel that came to nothing built nothing to compare with. */
const filled = <T>(list: readonly T[] | undefined): readonly T[] | null =>
  list && list.length > 0 ? list : null

const rangeOf = (range: { start: string; end: string }): Range => ({
  start: Number(range.start),
  end: Number(range.end),
})

const entryOf = (entry: {
  start: string
  end: string
  type: string
}): NamedRange => ({ ...rangeOf(entry), type: entry.type })

const nodeOf = (range: {
  start: string
  end: string
  node: number
}): OnNode => ({ ...rangeOf(range), node: range.node })

const spanOf = ({ base, size }: { base: string; size: string }): Range => ({
  start: Number(base),
  end: Number(base) + Number(size),
})
