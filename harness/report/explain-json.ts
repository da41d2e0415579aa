import { hex } from '../base/units.ts'
import type { FailedSeamcall } from '../console/facts.ts'
import { STAGE_OF_LEAF } from '../tdx/outcome.ts'
import type { Explanation } from '../judge/explain.ts'
import { anyLeafName, decodeStatus } from '../tdx/decode.ts'
import type { ExplainDocument } from './explain-schema.ts'
import { layoutJson } from './layout-json.ts'

/** One boot of a log that was explained. */
export interface ExplainedBoot {
  readonly file: string
  /** From 1; several boots may be in one file. */
  readonly boot: number
  readonly explanation: Explanation
  /** What was judged, where the log is of a bundle. */
  readonly verdict: readonly string[]
}

type ExplainedLog = ExplainDocument['logs'][number]

/** Explanations as JSON: `tdxrig.explain/1`. */
export const explainJson = (
  boots: readonly ExplainedBoot[],
): ExplainDocument => ({
  schema: 'tdxrig.explain/1',
  logs: boots.map(logJson),
})

const logJson = ({ file, boot, explanation }: ExplainedBoot): ExplainedLog => {
  const { facts, recognised, cause, advice, workaround, asked } = explanation
  const { tdx } = facts
  return {
    file,
    boot,
    lines: [facts.firstLine, facts.lastLine],
    kernel: facts.kernel,
    series:
      recognised?.doubt === undefined
        ? (recognised?.series.name ?? null)
        : null,
    seriesDoubt: recognised?.doubt ?? null,
    cmdline: facts.cmdline,
    cpu: facts.cpu?.name ?? null,
    module: tdx.module && {
      version: versionText(tdx.module),
      buildNumber: tdx.module.buildNumber,
      buildDate: tdx.module.buildDate,
    },
    keyids: tdx.keyids && [...tdx.keyids],
    cmrs: tdx.cmrs?.map(({ start, end }) => [hex(start), hex(end)]) ?? null,
    outcome: tdx.outcome,
    stage: tdx.stage,
    errno: tdx.errno,
    message: tdx.message,
    messageLine: tdx.at.message,
    pamtKiB: tdx.pamtKib,
    seamcalls: tdx.failedSeamcalls.map(seamcallJson),
    incidents: facts.incidents.map(incident => ({ ...incident })),
    asked: asked.map(one => ({ ...one })),
    firmware: explanation.platform.map(one => ({ ...one })),
    cause,
    advice: [...advice],
    workaround: workaround && {
      ...workaround,
      words: [...workaround.words],
    },
    notes: [...notesOn(explanation)],
    predicted: predictedJson(explanation),
  }
}

/** `1.5`, or `1.5.24`. */
export const versionText = ({
  major,
  minor,
  update,
}: NonNullable<Explanation['facts']['tdx']['module']>): string =>
  [
    major,
    minor,
    ...(update === null ? [] : [String(update).padStart(2, '0')]),
  ].join('.')

/** How far the prediction goes, or why there is none. */
export const notesOn = ({
  facts,
  prediction,
}: Explanation): readonly string[] =>
  prediction?.notes ??
  (facts.tdx.outcome === 'absent'
    ? []
    : [
        'the log has no memory map, so the layout is not predicted: it needs the lines from the start of the boot',
      ])

const seamcallJson = ({
  leaf,
  status,
  registers,
  line,
}: FailedSeamcall): ExplainedLog['seamcalls'][number] => {
  const decoded = decodeStatus(status, registers)
  return {
    leaf,
    leafName: anyLeafName(leaf),
    status: hex(status),
    name: decoded.name ?? null,
    class: decoded.class,
    detail: decoded.detail ?? null,
    initialization: STAGE_OF_LEAF.has(leaf),
    registers: Object.fromEntries(
      Object.entries(registers).map(([name, value]) => [name, hex(value)]),
    ),
    line,
  }
}

const predictedJson = ({
  prediction,
}: Explanation): ExplainedLog['predicted'] => {
  if (!prediction) return null
  const { outcome, open, basis, layout } = prediction
  return {
    outcome: outcome?.outcome ?? null,
    stage: outcome?.stage ?? null,
    errno: outcome?.errno ?? null,
    why: outcome?.why ?? open ?? null,
    basis,
    ...layoutJson(layout),
  }
}
