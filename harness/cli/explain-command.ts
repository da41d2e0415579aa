import { RigError, UsageError } from '../base/errors.ts'
import { checkOutputFile, writeWhole } from '../base/output.ts'
import type { ExplainViewProps } from '../report/html/explain-view.tsx'
import { explain } from '../judge/explain.ts'
import { type ExplainedBoot, explainJson } from '../report/explain-json.ts'
import { explainText } from '../report/explain-text.ts'
import { type ScreenFlags, screenFor } from './screen.ts'
import { bootName } from '../report/explain-boot.ts'
import type { Log } from './log.ts'
import { readLog } from './log-file.ts'
import { asSubjects } from './subjects.ts'

interface ExplainFlags extends ScreenFlags {
  readonly json?: boolean
  /** A file for a page with the same. */
  readonly html?: string
}

/** `tdxrig explain`: what became of TDX in any log, why, and what to do. */
export const explainCommand = async (
  files: readonly string[],
  { json = false, ascii, html }: ExplainFlags,
): Promise<number> => {
  if (files.filter(file => file === '-').length > 1)
    throw new UsageError('STDIN', "'-' is given twice: stdin is one log")
  if (html !== undefined) await checkOutputFile('--html', html)
  const explained: { boot: ExplainedBoot; name: string }[] = []
  const shown: ExplainViewProps[] = []
  const unread: RigError[] = []
  const screen = screenFor({ ascii })
  const logs: Log[] = []
  for (const file of files)
    try {
      logs.push(await readLog(file))
    } catch (error) {
      // The others are explained all the same.
      if (!(error instanceof RigError)) throw error
      unread.push(error)
    }
  for (const log of asSubjects(logs))
    if (html === undefined) explained.push(...explainLog(log))
    else shown.push(...(await viewsOf(log)))
  if (explained.length + shown.length === 0 && unread[0]) throw unread[0]
  if (html !== undefined) {
    const { explainHtml } = await import('./html-files.ts')
    await writeWhole(html, await explainHtml(shown))
  } else
    process.stdout.write(
      json
        ? `${JSON.stringify(explainJson(explained.map(({ boot }) => boot)), null, 2)}\n`
        : explained
            .map(({ boot, name }) => explainText(boot, { name, screen }))
            .join('\n'),
    )
  for (const complaint of logs.flatMap(({ complaints }) => complaints))
    process.stderr.write(`tdxrig: ${complaint}\n`)
  for (const { message } of unread) process.stderr.write(`tdxrig: ${message}\n`)
  return unread[0]?.exitCode ?? 0
}

/** As a page shows it; loaded where a page is asked for. */
const viewsOf = async (log: Log): Promise<ExplainViewProps[]> => {
  const { explainedBoots } = await import('../page/explained-boots.ts')
  return explainedBoots(log, log.text)
}

const explainLog = (
  log: Log,
): { readonly boot: ExplainedBoot; readonly name: string }[] =>
  log.boots.map((facts, i) => ({
    boot: {
      file: log.file,
      boot: log.forgotten + i + 1,
      verdict: log.verdict,
      explanation: explain(facts),
    },
    name: bootName(log, i),
  }))
