import * as z from 'zod'
import { sizeText } from '../base/units.ts'
import type { Facts } from '../console/facts.ts'
import { decisiveSeamcall } from '../judge/advice/advice.ts'
import { keyidsOf } from '../judge/log-prediction.ts'
import type { Range } from '../memory/range.ts'
import type { CellInput } from '../scenario/schema.ts'
import { alwaysFails, faultSchema } from '../tdx/fault.ts'
import { LEAF, type LeafName } from '../tdx/leaves.ts'
import { MAX_CMRS } from '../tdx/platform.ts'
import { status } from '../tdx/status.ts'
import { placed } from './replay-machine.ts'
import type { Scale } from './scale.ts'

type Tdx = NonNullable<CellInput['tdx']>

/** How TDX ended in a log; undefined where it says nothing of its end. */
export type Said = Pick<Facts['tdx'], 'outcome' | 'stage' | 'errno'> | undefined

/** A log that stops short of an end has none to be compared. */
export const saidBy = ({ tdx }: Facts): Said => {
  const { outcome, stage, errno } = tdx
  const answered = tdx.module !== null || tdx.cmrs !== null
  const open =
    outcome === 'absent' ||
    (outcome === 'not-enabled' && tdx.keyids === null) ||
    (outcome === 'unfinished' && (answered || tdx.keyids === null))
  return open ? undefined : { outcome, stage, errno }
}

type Part = Pick<CellInput, 'tdx' | 'steps'>

/** Platforms that may have made the log, the simplest first. */
export const candidates = (
  facts: Facts,
  scale: Scale,
  notes: string[],
): [Part, ...Part[]] => {
  const { tdx } = facts
  const base: Tdx = {
    ...keyids(facts, notes),
    ...moduleFor(facts),
    ...(tdx.cmrs && {
      cmrs: tdx.cmrs
        .filter(isWhole)
        .slice(0, MAX_CMRS)
        .map(({ start, end }) => {
          const small = placed({ start, end }, scale)
          return { start: sizeText(small.start), end: sizeText(small.end) }
        }),
    }),
  }
  const tried = tdx.outcome !== 'unfinished' || saidBy(facts) === undefined
  if (!tried)
    notes.push('nobody asks for the initialisation here, as nobody did there')
  const call = decisiveSeamcall(facts)
  const leaf = Object.entries(LEAF).find(
    ([, number]) => number === call?.leaf,
  )?.[0]
  return [
    tried ? { tdx: base } : { tdx: base, steps: [] },
    ...(call && leaf
      ? [
          {
            tdx: {
              ...base,
              faults: [
                z.encode(
                  faultSchema,
                  alwaysFails(leaf as LeafName, call.status),
                ),
              ],
            },
          },
        ]
      : []),
    { tdx: { ...base, x2apic: false } },
  ]
}

/** What a line that was garbled says is no range. */
const isWhole = ({ start, end }: Range): boolean => start < end

const keyids = (facts: Facts, notes: string[]): Pick<Tdx, 'keyids'> => {
  const found = keyidsOf(facts.tdx.keyids)
  if (found) return { keyids: found }
  notes.push(
    facts.tdx.keyids
      ? `no platform has the KeyIDs [${facts.tdx.keyids.join(', ')}): [32, 64) are assumed`
      : 'the log names no private KeyIDs: [32, 64) are assumed',
  )
  return {}
}

const NOT_READY = status('SYS_NOT_READY')

/** What answered, or that nothing did. */
const moduleFor = ({ tdx }: Facts): Pick<Tdx, 'module'> => {
  const { module, stage, failedSeamcalls, keyids } = tdx
  const silent =
    stage === 'sys-init' &&
    failedSeamcalls.length === 0 &&
    (tdx.outcome === 'failed' ||
      (tdx.outcome === 'not-enabled' && keyids !== null))
  if (silent) return { module: 'none' }
  const noSysRd = failedSeamcalls.some(
    call => call.leaf === LEAF.SYS_RD && call.status === NOT_READY,
  )
  return noSysRd || (module?.major === 1 && module.minor === 0)
    ? { module: '1.0' }
    : {}
}
