import { messageOf } from '../base/errors.ts'
import { GIB } from '../base/units.ts'
import { DEFAULT_BOARD } from '../board/index.ts'
import type { Facts } from '../console/facts.ts'
import { explain } from '../judge/explain.ts'
import type { ExplainViewProps } from '../report/html/explain-view.tsx'
import { replayText } from '../reproduce/replay-text.ts'
import { replay } from '../reproduce/replay.ts'

/** The boots of a log. */
interface ReadBoots {
  /** What it is called. */
  readonly file: string
  readonly boots: readonly Facts[]
  /** Boots at the beginning that were let go. */
  readonly forgotten: number
}

/** Nobody knows the machine that will boot it: one with 2 GiB can. */
const MEMORY = 64 * GIB

/**
 * What a page shows of a log, boot by boot.
 *
 * @param console its text; null: it is too long
 */
export const explainedBoots = (
  { file, boots, forgotten }: ReadBoots,
  console: string | null,
): ExplainViewProps[] => {
  const several = boots.length + forgotten > 1
  return boots.map((facts, i) => ({
    name: several ? `${file} (boot ${forgotten + i + 1})` : file,
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
