import type { JSX } from 'preact'
import { visible } from '../../base/text.ts'
import { decodeStatus } from '../../tdx/decode.ts'
import { endingOf, headroomFigures } from '../compare.ts'
import { drawnCase } from '../picture/drawn.ts'
import { outcomeText } from '../prediction-text.ts'
import type { CaseResult } from '../schema.ts'
import type { ConsoleLine } from './console-lines.ts'
import { Console } from './console.tsx'
import {
  Code,
  FactTable,
  Picture,
  SuspectList,
  VerdictMark,
  secondsText,
  suspectsOf,
} from './shared.tsx'

export interface CaseViewProps {
  readonly result: CaseResult
  /** Null: it is not in the report. */
  readonly console: readonly ConsoleLine[] | null
}

/** All there is to say of a case. */
export const CaseView = ({ result, console }: CaseViewProps): JSX.Element => (
  <article>
    <h1>
      <VerdictMark verdict={result.verdict} /> {visible(result.id)}
    </h1>
    {result.why !== '' && <p class="dim">{visible(result.why)}</p>}
    <Reasons
      result={result}
      shown={new Set(console?.map(([number]) => number))}
    />
    <h2>Memory</h2>
    <SuspectList suspects={suspectsOf(result)} />
    <Picture drawn={drawnCase(result)} title="memory map of this case" />
    <h2>What was asked and what came of it</h2>
    <CaseFacts result={result} />
    {result.seamcalls && <Seamcalls calls={result.seamcalls} />}
    <h2>Run it again</h2>
    <pre>{visible(result.reproduce)}</pre>
    {console !== null && (
      <>
        <h2>Console</h2>
        <Console lines={console} told={linesTold(result)} />
      </>
    )}
  </article>
)

/** Lines of the console that something is said of. */
export const linesTold = ({
  reasons,
  incidents,
}: Pick<CaseResult, 'reasons' | 'incidents'>): number[] => [
  ...reasons.flatMap(({ line }) => (line === undefined ? [] : [line])),
  ...incidents.map(({ line }) => line),
]

const Reasons = ({
  result: { reasons, unobserved },
  shown,
}: {
  readonly result: CaseResult
  /** Lines of the console that can be pointed at. */
  readonly shown: ReadonlySet<number>
}): JSX.Element => (
  <>
    {reasons.length > 0 && (
      <ul>
        {reasons.map(({ check, message, line }) => (
          <li key={`${check} ${message}`}>
            {visible(message)}
            {line !== undefined && shown.has(line) && (
              <>
                {' '}
                <a href={`#L${line}`} data-line={line}>
                  console line {line}
                </a>
              </>
            )}
          </li>
        ))}
      </ul>
    )}
    {unobserved.length > 0 && (
      <p class="dim">
        Not observed:{' '}
        {unobserved
          .map(({ check, missing }) => `${check} (no ${missing.join(', ')})`)
          .join(', ')}
      </p>
    )}
  </>
)

const CaseFacts = ({
  result,
}: {
  readonly result: CaseResult
}): JSX.Element => {
  const { tdx, predicted, cmdline, timing, machine, attempts } = result
  return (
    <FactTable
      rows={[
        ['TDX', endingOf(result)],
        [
          'predicted',
          predicted.outcome === null
            ? `open: ${predicted.why}`
            : `${outcomeText(predicted.outcome, predicted.stage, predicted.errno)}: ${predicted.why}`,
        ],
        ['message', tdx?.message ? <Code text={tdx.message} /> : null],
        ['scenario', <Code text={result.scenario} />],
        ['kernel', <Code text={result.kernel} />],
        [
          'machine',
          [
            machine.memory,
            `${machine.cpus} CPUs`,
            ...(machine.nodes.length > 1
              ? [`${machine.nodes.length} nodes`]
              : []),
            machine.board,
          ].join(', '),
        ],
        ['parameters', code(result.words.join(' '))],
        ['effective', code(cmdline?.effective ?? '')],
        ['steps', result.steps.map(visible).join(', ')],
        ['DIMMs', onlineText(result)],
        ['updates', (result.updates ?? []).map(visible).join(', ')],
        [
          'headroom',
          headroomFigures(result)
            .map(({ name, text }) => `${name}: ${text}`)
            .join(', '),
        ],
        ['KeyIDs', tdx?.keyids ? `[${tdx.keyids.join(', ')})` : null],
        ['time', secondsText(timing.totalMs)],
        [
          'attempts',
          attempts.length > 1
            ? attempts.map(({ verdict }) => verdict).join(', ')
            : null,
        ],
        [
          'stuck',
          result.stuck
            .map(({ cpu, rip, symbol }) => `CPU ${cpu} at ${symbol ?? rip}`)
            .join(', '),
        ],
      ]}
    />
  )
}

const code = (text: string): JSX.Element | null =>
  text === '' ? null : <Code text={text} />

const onlineText = ({ online }: CaseResult): string =>
  (online ?? []).map(({ dimm, result }) => `${dimm} ${result}`).join(', ')

type Seamcall = NonNullable<CaseResult['seamcalls']>[number]

/** Calls that follow each other and differ in their CPU alone are one row. */
interface CallRow extends Seamcall {
  readonly cpus: readonly number[]
}

const rowsOf = (calls: readonly Seamcall[]): CallRow[] => {
  const rows: (CallRow & { cpus: number[] })[] = []
  for (const call of calls) {
    const last = rows.at(-1)
    if (last?.leaf === call.leaf && last.status === call.status)
      last.cpus.push(call.cpu)
    else rows.push({ ...call, cpus: [call.cpu] })
  }
  return rows
}

const Seamcalls = ({
  calls,
}: {
  readonly calls: readonly Seamcall[]
}): JSX.Element => (
  <>
    <h2>SEAMCALLs ({calls.length})</h2>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">leaf</th>
            <th scope="col">times</th>
            <th scope="col">CPUs</th>
            <th scope="col">status</th>
          </tr>
        </thead>
        <tbody>
          {rowsOf(calls).map((row, i) => (
            <tr key={i}>
              <td>{row.name}</td>
              <td>{row.cpus.length}</td>
              <td>{[...new Set(row.cpus)].join(' ')}</td>
              <td class={isGood(row) ? '' : 'fail'}>{statusText(row)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  </>
)

const isGood = ({ status }: Seamcall): boolean =>
  status !== null && BigInt(status) === 0n

const statusText = ({ status, statusName }: Seamcall): string => {
  if (status === null) return statusName ?? 'VMfailInvalid'
  if (BigInt(status) === 0n) return statusName ?? status
  const { detail } = decodeStatus(BigInt(status), {})
  return `${status} ${statusName ?? 'an unknown status'}${detail === undefined ? '' : `, ${detail}`}`
}
