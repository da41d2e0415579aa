import { appendFileSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { resultDocument } from '../report/document.ts'
import { annotation, stepSummary } from '../report/formats/github.ts'
import { prettyReporter } from '../report/pretty.ts'
import type { Reporter, RunHead } from '../report/reporter.ts'
import type { CaseResult } from '../report/schema.ts'
import { tapReporter } from '../report/tap.ts'
import type { RunFlags } from './run-flags.ts'
import { screenFor } from './screen.ts'

interface Printing {
  /** Where the result document lies, for paths that can be opened. */
  readonly folder: string
  /** Takes away what else is on the terminal while it prints. */
  readonly around: (write: () => void) => void
}

/** What `--reporter` prints on stdout. */
export const stdoutReporter = (
  flags: Pick<RunFlags, 'reporter' | 'ascii' | 'quiet'>,
  { folder, around }: Printing,
): Reporter => {
  const write = (text: string): void => {
    around(() => {
      process.stdout.write(text)
    })
  }
  if (flags.reporter === 'tap') return tapReporter(write)
  const { quiet = false } = flags
  const options = { screen: screenFor(flags), folder, quiet }
  if (flags.reporter === 'pretty') return prettyReporter(write, options)
  return githubReporter(write, options)
}

/**
 * Text for people with annotations in between. Lines of a console may look like
 * workflow commands: while text is printed, none is taken but the one that
 * holds a secret.
 */
const githubReporter = (
  write: (text: string) => void,
  options: Parameters<typeof prettyReporter>[1],
): Reporter => {
  const secret = randomUUID()
  const pretty = prettyReporter(text => {
    write(`::stop-commands::${secret}\n${text}::${secret}::\n`)
  }, options)
  const cases: CaseResult[] = []
  let head: RunHead | undefined
  return {
    start: async started => {
      head = started
      await pretty.start(started)
    },
    case: async result => {
      cases.push(result)
      await pretty.case(result)
      write(annotation(result))
    },
    end: async end => {
      await pretty.end(end)
      const { GITHUB_STEP_SUMMARY: path } = process.env
      if (path && head)
        appendFileSync(path, stepSummary(resultDocument(head, end, cases)))
    },
  }
}
