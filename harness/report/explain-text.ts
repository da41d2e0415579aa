import { visible } from '../base/text.ts'
import { hex } from '../base/units.ts'
import type { FailedSeamcall } from '../console/facts.ts'
import { STAGE_OF_LEAF } from '../tdx/outcome.ts'
import type { Explanation } from '../judge/explain.ts'
import { packagesText } from '../judge/platform.ts'
import { formatRange } from '../memory/range.ts'
import { anyLeafName, decodeStatus } from '../tdx/decode.ts'
import { type ExplainedBoot, notesOn, versionText } from './explain-json.ts'
import { askedTexts, firmwareTexts } from './explain-boot.ts'
import type { Screen } from './picture/bars.ts'
import { drawnLog } from './picture/drawn.ts'
import {
  endingText,
  layoutSummary,
  outcomeText,
  pictureLines,
} from './prediction-text.ts'

const WIDTH = 14
/** SEAMCALLs that are shown one by one. */
const SHOWN = 8

const row = (title: string, text: string): string =>
  `  ${title.padEnd(WIDTH)}${visible(text)}`

/** An explanation for people: the verdict first, then why and what to do. */
export const explainText = (
  { explanation, verdict }: ExplainedBoot,
  { name, screen }: { readonly name: string; readonly screen: Screen },
): string => {
  const { facts, cause, advice, asked } = explanation
  const { tdx } = facts
  const said =
    tdx.message === null
      ? []
      : [row(`line ${tdx.at.message ?? 0}`, `'${tdx.message}'`)]
  return [
    `${visible(name)}: ${outcomeText(tdx.outcome, tdx.stage, tdx.errno)}`,
    ...verdict.map((text, i) => row(i === 0 ? 'judged' : '', text.trim())),
    ...said,
    ...askedTexts(asked).map((text, i) =>
      row(i === 0 ? 'asked for' : '', text),
    ),
    ...firmwareTexts(explanation.platform).map((text, i) =>
      row(i === 0 ? 'firmware' : '', text),
    ),
    ...tdx.failedSeamcalls.slice(0, SHOWN).flatMap(seamcallLines),
    ...more(tdx.failedSeamcalls.length),
    ...(cause === null ? [] : [row('cause', cause)]),
    ...advice.map((text, i) => row(i === 0 ? 'what to do' : '', `- ${text}`)),
    ...machineRows(explanation),
    ...predictionLines(explanation, screen),
    '',
  ].join('\n')
}

const more = (count: number): string[] =>
  count > SHOWN ? [row('', `and ${count - SHOWN} more`)] : []

const seamcallLines = ({
  leaf,
  status,
  registers,
  line,
}: FailedSeamcall): string[] => {
  const decoded = decodeStatus(status, registers)
  const detail = decoded.detail === undefined ? '' : `, ${decoded.detail}`
  const late = STAGE_OF_LEAF.has(leaf) ? '' : ', no part of the initialisation'
  const other = Object.entries(registers).filter(([, value]) => value !== 0n)
  return [
    row(
      `line ${line}`,
      `${anyLeafName(leaf)} returned ${hex(status)}: ${decoded.name ?? 'an unknown status'} (${decoded.class}${detail}${late})`,
    ),
    ...(other.length > 0
      ? [
          row(
            '',
            `with ${other.map(([name, value]) => `${name.toUpperCase()} ${hex(value)}`).join(', ')}`,
          ),
        ]
      : []),
  ]
}

const machineRows = ({ facts, recognised }: Explanation): string[] => {
  const { tdx } = facts
  const { module } = tdx
  const build = module?.buildNumber
  const facing: readonly (readonly [string, string | null])[] = [
    ['kernel', facts.kernel],
    [
      'series',
      recognised?.doubt === undefined
        ? null
        : `${recognised.doubt}: cause and advice are those of ${recognised.series.title}, and may not apply`,
    ],
    ['CPU', facts.cpu?.name ?? facts.platform?.cpu?.name ?? null],
    ['packages', packagesText(facts) ?? null],
    [
      'module',
      module &&
        `${versionText(module)}${module.major === 0 ? ', which stands for a version that could not be read' : ''}${build == null ? '' : `, build ${build}`}${module.buildDate === null ? '' : ` of ${module.buildDate}`}`,
    ],
    ['KeyIDs', tdx.keyids && `[${tdx.keyids.join(', ')})`],
    ['CMRs', tdx.cmrs?.map(formatRange).join(' ') ?? null],
    ['PAMT', tdx.pamtKib === null ? null : `${tdx.pamtKib} KiB`],
  ]
  return facing.flatMap(([title, text]) =>
    text === null ? [] : [row(title, text)],
  )
}

/** Where the log shows the memory: what the kernel must have made of it. */
const predictionLines = (
  explanation: Explanation,
  screen: Screen,
): string[] => {
  const { facts, prediction } = explanation
  return [
    ...(prediction
      ? [
          row(
            'by the model',
            explanation.noTdx === null || facts.tdx.outcome === 'initialized'
              ? endingText(prediction)
              : `of a machine with TDX and this memory: ${endingText(prediction)}`,
          ),
          ...layoutSummary(prediction.layout),
        ]
      : []),
    ...(prediction ? pictureLines(drawnLog(facts, prediction), screen) : []),
    ...notesOn(explanation).map(note => row('note', note)),
  ]
}
