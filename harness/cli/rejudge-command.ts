import colors from 'picocolors'
import { UsageError } from '../base/errors.ts'
import { checkOutputFile, writeWhole } from '../base/output.ts'
import { resultDocument } from '../report/document.ts'
import { prettyCase, prettySummary } from '../report/pretty.ts'
import type { CaseResult } from '../report/schema.ts'
import { tapHeader, tapPoint } from '../report/tap.ts'
import { rejudge } from '../run/rejudge.ts'
import type { RunFlags } from './run-flags.ts'
import { exitCode, programName } from './exit-code.ts'
import { VERSION } from './version.ts'

/** What makes no sense without a boot. */
const BOOTING = [
  'kernel',
  'kernelBuild',
  'filter',
  'jobs',
  'out',
  'bundle',
] as const

/** `tdxrig run --rejudge`: archives of failed cases, judged again offline. */
export const rejudgeBundles = async (
  paths: readonly string[],
  flags: RunFlags,
): Promise<number> => {
  const ignored = BOOTING.filter(name => flags[name] !== undefined)
  if (ignored.length > 0)
    throw new UsageError(
      'REJUDGE',
      `--rejudge boots nothing: it does not go together with ${ignored.map(name => `--${name.replace('B', '-b')}`).join(', ')}`,
    )
  if (paths.length === 0)
    throw new UsageError('REJUDGE', '--rejudge: expected archives of --bundle')
  if (flags.json !== undefined) await checkOutputFile('--json', flags.json)
  const started = new Date()
  const begin = performance.now()
  const again = { program: programName(), flags: [] }
  const results: CaseResult[] = []
  const kernels = new Map<string, string>()
  // All are read before anything is said: one may be no bundle.
  for (const path of paths) {
    const { item, result, key } = await rejudge(path, again)
    results.push(result)
    kernels.set(item.kernel, key)
  }
  const document = resultDocument(
    {
      rig: { version: VERSION, machine: 'judged again, nothing was booted' },
      started: started.toISOString(),
      interrupted: false,
      durationMs: performance.now() - begin,
      kernels: [...kernels].map(([name, key]) => ({ name, key })),
    },
    results,
  )
  if (flags.json !== undefined)
    await writeWhole(flags.json, `${JSON.stringify(document, null, 2)}\n`)
  process.stdout.write(
    flags.reporter === 'tap'
      ? tapHeader(results.length) +
          results.map((result, i) => tapPoint(result, i + 1)).join('')
      : [
          ...results.map(result => prettyCase(result, '.', colors)),
          '',
          prettySummary(document, colors),
          '',
        ].join('\n'),
  )
  return exitCode(document)
}
