import { UsageError } from '../base/errors.ts'
import { explain } from '../judge/explain.ts'
import { type ExplainedBoot, explainJson } from '../report/explain-json.ts'
import { explainText } from '../report/explain-text.ts'
import { type ScreenFlags, screenFor } from './screen.ts'
import { type Log, bootName, readLog } from './log-file.ts'

/** `tdxrig explain`: what became of TDX in any log, why, and what to do. */
export const explainCommand = async (
  files: readonly string[],
  { json = false, ascii }: { readonly json?: boolean } & ScreenFlags,
): Promise<number> => {
  if (files.filter(file => file === '-').length > 1)
    throw new UsageError('STDIN', "'-' is given twice: stdin is one log")
  const explained: { boot: ExplainedBoot; name: string }[] = []
  const unread: UsageError[] = []
  const screen = screenFor({ ascii })
  for (const file of files)
    try {
      explained.push(...explainLog(await readLog(file)))
    } catch (error) {
      // The others are explained all the same.
      if (!(error instanceof UsageError)) throw error
      unread.push(error)
    }
  if (explained.length === 0 && unread[0]) throw unread[0]
  process.stdout.write(
    json
      ? `${JSON.stringify(explainJson(explained.map(({ boot }) => boot)), null, 2)}\n`
      : explained
          .map(({ boot, name }) => explainText(boot, { name, screen }))
          .join('\n'),
  )
  for (const { message } of unread) process.stderr.write(`tdxrig: ${message}\n`)
  return unread[0]?.exitCode ?? 0
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
