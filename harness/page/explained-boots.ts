import { messageOf } from '../base/errors.ts'
import { GIB } from '../base/units.ts'
import { DEFAULT_BOARD } from '../board/index.ts'
import type { Facts } from '../console/facts.ts'
import { explain } from '../judge/explain.ts'
import { type ReadBoots, bootName } from '../report/explain-boot.ts'
import type { ExplainViewProps } from '../report/html/explain-view.tsx'
import { replayText } from '../reproduce/replay-text.ts'
import { replay } from '../reproduce/replay.ts'

/** Nobody knows the machine that will boot it: one with 2 GiB can. */
const MEMORY = 64 * GIB

/**
 * What a page shows of a log, boot by boot.
 *
 * @param console its text; null: it is too long
 */
export const explainedBoots = (
  log: ReadBoots,
  console: string | null,
): ExplainViewProps[] => {
  const { boots } = log
  return boots.map((facts, i) => ({
    name: bootName(log, i),
    explanation: explain(facts),
    scenario: scenarioOf(facts),
    // All boots have the lines of one file: it is shown once.
    console: i === boots.length - 1 ? console : null,
  }))
}

const scenarioOf = (facts: Facts): ExplainViewProps['scenario'] => {
  try {
    const made = replay(facts, {
      memory: MEMORY,
      board: DEFAULT_BOARD,
    })
    return { text: replayText(made) }
  } catch (error) {
    return { why: messageOf(error) }
  }
}
