import type { JSX } from 'preact'
import { visible } from '../../base/text.ts'
import { hex } from '../../base/units.ts'
import type { FailedSeamcall } from '../../console/facts.ts'
import type { Explanation } from '../../judge/explain.ts'
import { anyLeafName, decodeStatus } from '../../tdx/decode.ts'
import { formatRange } from '../../memory/range.ts'
import { askedTexts, firmwareTexts } from '../explain-boot.ts'
import { notesOn, versionText } from '../explain-json.ts'
import { drawnLog } from '../picture/drawn.ts'
import { endingText, layoutSummary, outcomeText } from '../prediction-text.ts'
import { consoleLines } from './console-lines.ts'
import { Console } from './console.tsx'
import { Code, FactTable, Picture } from './shared.tsx'

/** A boot of a log, ready to be shown. */
export interface ExplainViewProps {
  /** Of the file, and the boot where there are several. */
  readonly name: string
  readonly explanation: Explanation
  /** A scenario with that memory, or why none can be made. */
  readonly scenario: { readonly text: string } | { readonly why: string }
  /** Null: it is too long to be shown, or shown with another boot. */
  readonly console: string | null
}

const Told = ({
  title,
  texts,
}: {
  readonly title: string
  readonly texts: readonly string[]
}): JSX.Element | null =>
  texts.length === 0 ? null : (
    <>
      <h3>{title}</h3>
      <ul>
        {texts.map(text => (
          <li key={text}>{visible(text)}</li>
        ))}
      </ul>
    </>
  )

/** What became of TDX in a log, why, and what to do. */
export const ExplainView = ({
  name,
  explanation,
  scenario,
  console,
}: ExplainViewProps): JSX.Element => {
  const { facts, cause, advice, prediction } = explanation
  const { tdx } = facts
  return (
    <article class="explained">
      <h2>
        <span class={`verdict ${CLASS[tdx.outcome]}`}>
          {outcomeText(tdx.outcome, tdx.stage, tdx.errno)}
        </span>{' '}
        <span class="dim">{visible(name)}</span>
      </h2>
      {tdx.message !== null && (
        <p>
          <LineLink line={tdx.at.message} /> <Code text={tdx.message} />
        </p>
      )}
      {tdx.failedSeamcalls.slice(0, SHOWN).map(call => (
        <p key={call.line}>
          <LineLink line={call.line} /> {seamcallText(call)}
        </p>
      ))}
      <Told title="Asked for" texts={askedTexts(explanation.asked)} />
      <Told title="Firmware" texts={firmwareTexts(explanation.platform)} />
      {cause !== null && (
        <>
          <h3>Cause</h3>
          <p>{visible(cause)}</p>
        </>
      )}
      <Told title="What to do" texts={advice} />
      <h3>Machine</h3>
      <MachineFacts explanation={explanation} />
      {prediction && (
        <>
          <h3>Memory</h3>
          <Picture
            drawn={drawnLog(facts, prediction)}
            title={`memory map of ${visible(name)}`}
          />
          <p>By the model: {visible(endingText(prediction))}</p>
          <details>
            <summary>predicted layout</summary>
            <pre>
              {layoutSummary(prediction.layout).map(visible).join('\n')}
            </pre>
          </details>
        </>
      )}
      <ul class="dim">
        {notesOn(explanation).map(note => (
          <li key={note}>{visible(note)}</li>
        ))}
      </ul>
      {'text' in scenario ? (
        <details>
          <summary>a scenario that boots this memory under QEMU</summary>
          <p>
            <button type="button" data-download="replay.yaml">
              download
            </button>{' '}
            and <code>tdxrig run replay.yaml</code>
          </p>
          <pre>{scenario.text}</pre>
        </details>
      ) : (
        <p class="dim">
          No scenario can be made of it: {visible(scenario.why)}
        </p>
      )}
      {console === null ? (
        <TdxLines explanation={explanation} />
      ) : (
        <details>
          <summary>the log</summary>
          <Console
            lines={consoleLines(console, toldLines(explanation))}
            told={toldLines(explanation)}
          />
        </details>
      )}
    </article>
  )
}

/** SEAMCALLs that are shown one by one. */
const SHOWN = 20

const CLASS: Readonly<Record<Explanation['facts']['tdx']['outcome'], string>> =
  {
    initialized: 'pass',
    failed: 'fail',
    disabled: 'invalid',
    'not-enabled': 'invalid',
    unfinished: 'error',
    absent: 'skip',
  }

const LineLink = ({
  line,
}: {
  readonly line: number | null
}): JSX.Element | null =>
  line === null ? null : (
    <a href={`#L${line}`} data-line={line}>
      line {line}
    </a>
  )

const seamcallText = ({ leaf, status, registers }: FailedSeamcall): string => {
  const { name, detail } = decodeStatus(status, registers)
  return `${anyLeafName(leaf)} returned ${hex(status)}: ${name ?? 'an unknown status'}${detail === undefined ? '' : `, ${detail}`}`
}

const toldLines = ({ facts }: Explanation): number[] => [
  ...(facts.tdx.at.message === null ? [] : [facts.tdx.at.message]),
  ...facts.tdx.failedSeamcalls.map(({ line }) => line),
  ...facts.incidents.map(({ line }) => line),
]

const MachineFacts = ({
  explanation: { facts, recognised },
}: {
  readonly explanation: Explanation
}): JSX.Element => {
  const { tdx, kernel, cpu, cpus, cmdline, incidents } = facts
  return (
    <FactTable
      rows={[
        ['kernel', kernel === null ? null : <Code text={kernel} />],
        [
          'series',
          recognised
            ? `${recognised.series.title}${recognised.doubt === undefined ? '' : ` (${visible(recognised.doubt)})`}`
            : null,
        ],
        ['CPU', cpu && visible(cpu.name)],
        [
          'CPUs',
          cpus &&
            `${cpus.count} on ${cpus.nodes} ${cpus.nodes === 1 ? 'node' : 'nodes'}`,
        ],
        ['TDX module', tdx.module && versionText(tdx.module)],
        ['KeyIDs', tdx.keyids && `[${tdx.keyids.join(', ')})`],
        ['CMRs', tdx.cmrs?.map(formatRange).join(' ') ?? null],
        ['PAMT', tdx.pamtKib === null ? null : `${tdx.pamtKib} KiB`],
        ['command line', cmdline === null ? null : <Code text={cmdline} />],
        [
          'trouble',
          incidents
            .slice(0, SHOWN)
            .map(({ kind, line }) => `${kind} in line ${line}`)
            .join(', '),
        ],
      ]}
    />
  )
}

/** Where the log itself is not shown: the lines it is judged by. */
const TdxLines = ({
  explanation: { facts },
}: {
  readonly explanation: Explanation
}): JSX.Element => (
  <details open>
    <summary>its lines about TDX</summary>
    <pre class="console">
      {facts.tdx.lines.map(({ line, text }) => (
        <span id={`L${line}`} key={line}>
          <span class="n">{line}</span> {`${visible(text)}\n`}
        </span>
      ))}
    </pre>
  </details>
)
