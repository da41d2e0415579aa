import { UsageError } from '../base/errors.ts'
import { GIB, alignUp, formatSize } from '../base/units.ts'
import type { Board } from '../board/index.ts'
import type { Facts } from '../console/facts.ts'
import { mapOf, startMap } from '../judge/log-map.ts'
import { recognised } from '../judge/log-prediction.ts'
import type { PredictedOutcome } from '../judge/predicted-ending.ts'
import { predictCase } from '../judge/prediction.ts'
import { type E820Entry, isUsable } from '../memory/e820.ts'
import { formatRange } from '../memory/range.ts'
import { buildScenario, isRefused, problemTexts } from '../scenario/build.ts'
import { MAX_MEMORY } from '../scenario/machine-spec.ts'
import { type CellInput, MAX_NAME } from '../scenario/schema.ts'
import { type Series, shippedFor } from '../tdx/series/index.ts'
import { bordersOf, replayCmdline, withoutMaps } from './replay-cmdline.ts'
import {
  type ReplayedMachine,
  mapOfRanges,
  replayMachine,
  withoutLow,
} from './replay-machine.ts'
import { type Said, candidates, saidBy } from './replay-platform.ts'
import { type Scale, leastRoom, scaleTo } from './scale.ts'

/** A scenario made of a log. */
export interface Replay {
  readonly input: CellInput
  /** Differences from the machine of the log. */
  readonly approximations: readonly string[]
  /** How TDX ended in the log; undefined where it says nothing. */
  readonly said: Said
}

export interface ReplayOptions {
  /** Bytes of memory the machine may have. */
  readonly memory: number
  /** What it is built on. */
  readonly board: Board
  /** It is not meant to end as the log did. */
  readonly trial?: boolean
}

/**
 * The scenario with which a machine here boots what the log's machine did.
 *
 * @throws UsageError when the log shows nothing to make it of, or the machine
 *   cannot be made as small as it must be
 */
export const replay = (
  facts: Facts,
  { memory, board, trial = false }: ReplayOptions,
): Replay => {
  const notes: string[] = []
  const map = mapFor(facts, notes)
  const scale = scaleFor({ facts, map, memory }, notes)
  const { machine, approximations } = machineFor(facts, { map, scale, board })
  const { cmdline, approximations: words } = replayCmdline(
    isMapLater(facts)
      ? withoutMaps(facts.cmdline ?? '')
      : (facts.cmdline ?? ''),
    scale,
  )
  notes.push(...approximations, ...words)
  if (facts.cmdline === null)
    notes.push('the log has no command line: none is given')
  const kernel = shippedFor(recognised(facts).series)
  notes.push(
    `the kernel is ${kernel} here, and ${facts.kernel === null ? 'not named' : `Linux ${facts.kernel}`} there`,
  )
  const common = {
    ...naming(facts),
    kernels: [kernel],
    machine,
    cmdline,
    expect: { tdx: 'predicted' as const },
  }
  const said = saidBy(facts)
  const [first, ...others] = candidates(facts, scale, notes)
  const input = choose(
    [{ ...common, ...first }, ...others.map(part => ({ ...common, ...part }))],
    { series: recognised(facts).series, said, board, trial },
    notes,
  )
  return { input, approximations: notes, said }
}

/** The map is as it was after mem= and memmap=. */
const isMapLater = (facts: Facts): boolean =>
  (facts.modifiedMap?.length ?? 0) > 1 || startMap(facts)?.of === 'user'

const naming = ({ kernel, tdx }: Facts): Pick<CellInput, 'name' | 'why'> => ({
  name: `replay of a log of ${kernel === null ? 'a kernel' : `Linux ${kernel}`}`.slice(
    0,
    MAX_NAME,
  ),
  why: tdx.message ?? 'the log says nothing about TDX',
})

const mapFor = (facts: Facts, notes: string[]): E820Entry[] | undefined => {
  const { cmrs } = facts.tdx
  const { srat, nodeRanges } = facts
  const start = startMap(facts)
  if (facts.modifiedMap && facts.modifiedMap.length > 1) {
    notes.push(
      "the map is the one that the kernel has changed last ('modified:'), without what the command line says about it",
    )
    return [...facts.modifiedMap]
  }
  if (start?.of === 'user') {
    notes.push(
      "the log has the map after the command line alone ('user:'): it is the firmware's here",
    )
    return [...start.entries]
  }
  if (start) {
    const map = mapOf(facts)
    const added = map.slice(start.entries.length)
    if (added.length > 0)
      notes.push(
        `the map in the log is cut short: memory at ${added.map(formatRange).join(' ')} was taken from the CMRs`,
      )
    if (facts.unread > 0)
      notes.push(`${facts.unread} lines about memory could not be read`)
    return map
  }
  if (cmrs) {
    notes.push('the log has no memory map: its CMRs were taken for one')
    return mapOfRanges(withoutLow(cmrs.filter(({ start, end }) => start < end)))
  }
  if (nodeRanges.length > 1) {
    notes.push(
      "the log has no memory map: its 'Early memory node ranges' were taken for one",
    )
    return mapOfRanges(nodeRanges)
  }
  // A window for hot-plug may be of 2^50 bytes, and have nothing in it.
  const there = srat.filter(({ hotplug }) => !hotplug)
  if (there.length > 0) {
    notes.push(
      'the log has no memory map: the memory of its SRAT was taken for one, so holes are missing',
    )
    return mapOfRanges(withoutLow(there))
  }
  if (facts.tdx.outcome === 'absent')
    throw new UsageError(
      'NOTHING_TO_REPLAY',
      "expected a log with the memory map of a machine ('BIOS-e820: ...'), or with lines about TDX, and found neither; take the log from the start of the boot (dmesg, or journalctl -k -b)",
    )
  notes.push('the log shows no memory: the machine is a small one of 4G')
  return undefined
}

/** The memory map of a log; undefined: it shows no memory. */
interface ScaledMap {
  readonly map: readonly E820Entry[] | undefined
  readonly scale: Scale
  readonly board: Board
}

const machineFor = (
  facts: Facts,
  { map, scale, board }: ScaledMap,
): ReplayedMachine =>
  map
    ? replayMachine(facts, { map, scale, board })
    : { machine: { memory: '4G' }, approximations: [] }

/** QEMU's memory below 4 GiB, when there is some above. */
const LOW = 2 * GIB

interface Scaling {
  readonly facts: Facts
  readonly map: readonly E820Entry[] | undefined
  /** Bytes of memory there may be. */
  readonly memory: number
}

const scaleFor = ({ facts, map, memory }: Scaling, notes: string[]): Scale => {
  const cmdline = bordersOf(facts.cmdline ?? '')
  const end = Math.max(
    4 * GIB,
    ...(map ?? []).filter(isUsable).map(range => range.end),
  )
  const borders = [
    ...[
      ...(map ?? []),
      ...[facts.srat, facts.nodeRanges, facts.tdx.cmrs ?? []].flat(),
    ].flatMap(range => [range.start, range.end]),
    ...cmdline,
  ]
  const limit = Math.min(memory, MAX_MEMORY)
  const scale = scaleTo(borders, end, Math.max(0, limit - LOW))
  const least = alignUp(LOW + leastRoom(borders, end), GIB)
  if (!scale)
    throw new UsageError(
      'MEMORY',
      `with what must stay of its ranges the machine takes ${formatSize(least)} of memory, and may have ${formatSize(limit)}: ${least > MAX_MEMORY ? 'no machine here has that much' : 'give it more with --memory'}`,
    )
  if (scale.removed > 0)
    notes.push(
      `${formatSize(scale.removed)} of ${formatSize(end)} were taken out of long ranges above 4 GiB, by whole GiB: borders, holes and TDMRs are as many and have the same shape, PAMTs are smaller; all below 4 GiB is exact`,
    )
  return scale
}

/** What a replay is meant to end like. */
interface Aim {
  readonly series: Series
  readonly said: Said
  readonly board: Board
  /** It is not meant to end as the log did. */
  readonly trial: boolean
}

/** The first candidate that ends as the log did by the model, or the first. */
const choose = (
  [first, ...others]: readonly [CellInput, ...CellInput[]],
  aim: Aim,
  notes: string[],
): CellInput => {
  const { said, trial } = aim
  const plain = predicted(first, aim)
  if ('problems' in plain)
    throw new UsageError(
      'REPLAY',
      `the log makes no machine that can be built here: ${plain.problems.join('; ')}`,
    )
  const same = [first, ...others].flatMap(input => {
    const found = predicted(input, aim)
    return 'outcome' in found && said && isSaid(found.outcome, said)
      ? [{ input, outcome: found.outcome }]
      : []
  })[0]
  if (!same || !said) {
    if (!trial) notes.push(difference(said, plain.outcome))
    return first
  }
  const errno =
    said.errno !== null && said.errno === same.outcome?.errno
      ? { errno: said.errno }
      : {}
  const expect = { tdx: said.outcome, ...stageOf(said), ...errno }
  return { ...same.input, expect }
}

const isSaid = (
  outcome: PredictedOutcome | undefined,
  said: NonNullable<Said>,
): boolean =>
  outcome?.outcome === said.outcome &&
  (said.stage === null || outcome.stage === said.stage)

const stageOf = ({
  outcome,
  stage,
}: NonNullable<Said>): { stage?: NonNullable<typeof stage> } =>
  stage === null || outcome === 'initialized' || outcome === 'unfinished'
    ? {}
    : { stage }

const difference = (
  said: Said,
  outcome: PredictedOutcome | undefined,
): string => {
  const here = outcome
    ? `${outcome.outcome} at ${outcome.stage ?? 'no stage'}`
    : 'in a way the model leaves open'
  return said
    ? `the log ends ${said.outcome}${said.stage === null ? '' : ` at ${said.stage}`}, and by the model this scenario ends ${here}: what made the difference is not in the log, or cannot be made here`
    : `the log does not say how the initialisation ended; by the model this scenario ends ${here}`
}

type Predicted =
  | { readonly outcome: PredictedOutcome | undefined }
  | { readonly problems: readonly string[] }

const predicted = (input: CellInput, { series, board }: Aim): Predicted => {
  const built = buildScenario(input, board)
  return isRefused(built)
    ? { problems: problemTexts(built) }
    : { outcome: predictCase(built.body, { series }).outcome }
}
