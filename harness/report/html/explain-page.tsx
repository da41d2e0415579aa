import type { JSX } from 'preact'
import { ExplainView, type ExplainViewProps } from './explain-view.tsx'
import { Legend } from './legend.tsx'
import { type Script, htmlPage } from './page.tsx'

export interface ExplainPageParts {
  /** What is explained already; none: the page waits for a log. */
  readonly boots: readonly ExplainViewProps[]
  readonly script: Script
  readonly styleSha256: string
}

/** The page that explains logs, as one HTML file. */
export const explainPage = ({
  boots,
  script,
  styleSha256,
}: ExplainPageParts): string =>
  htmlPage({
    title: 'tdxrig: explain a log',
    body: (
      <main>
        <h1>What became of TDX in a kernel's log</h1>
        <Entry />
        <Legend />
        <div id="explained">
          {boots.map(boot => (
            <ExplainView key={boot.name} {...boot} />
          ))}
        </div>
        <noscript>
          <p>Without scripts, this page explains no other log.</p>
        </noscript>
      </main>
    ),
    data: new Map(),
    script,
    styleSha256,
  })

/** Where logs come from. */
const Entry = (): JSX.Element => (
  <section id="entry" class="drop" hidden>
    <p>
      <label>
        Drop a dmesg, a journal or a serial console here, or choose a file:{' '}
        <input type="file" id="file" />
      </label>
    </p>
    <textarea
      id="text"
      aria-label="the log as text"
      placeholder="or paste it here"
      spellcheck={false}
    />
    <p>
      <button type="button" id="explain">
        explain
      </button>{' '}
      <span id="state" role="status" />
    </p>
    <p class="dim">The log is read in this page and stays in it.</p>
  </section>
)
