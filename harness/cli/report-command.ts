import { dirname } from 'node:path'
import { writeWhole } from '../base/output.ts'
import type { ResultDocument } from '../report/schema.ts'
import { readResult } from '../run/result-file.ts'
import {
  type ReportFlags,
  checkReportFiles,
  reportTargets,
} from './report-files.ts'
import type { RunFlags } from './run-flags.ts'
import { stdoutReporter } from './stdout-reporter.ts'

/**
 * `tdxrig report`: a result document in other forms; as text where no file is
 * asked for. Whether the cases passed does not matter: it was told before.
 */
export const reportCommand = async (
  path: string,
  flags: ReportFlags & Pick<RunFlags, 'reporter' | 'ascii'>,
): Promise<number> => {
  await checkReportFiles(flags)
  const { file, document } = await readResult(path)
  const targets = reportTargets(flags, dirname(file))
  for (const target of targets)
    await writeWhole(target.path, await target.render(document))
  if (targets.length > 0) return 0
  await printDocument(document, dirname(file), flags)
  return 0
}

/** A run as it was printed when it ran. @param folder where its consoles are */
export const printDocument = async (
  { rig, started, kernels, cases, durationMs, interrupted }: ResultDocument,
  folder: string,
  flags: Pick<RunFlags, 'reporter' | 'ascii'>,
): Promise<void> => {
  const reporter = stdoutReporter(flags, {
    folder,
    around: write => {
      write()
    },
  })
  await reporter.start({ rig, started, kernels, cases: cases.length })
  for (const result of cases) await reporter.case(result)
  await reporter.end({
    durationMs,
    interrupted,
    resumed: 0,
    verdicts: cases.map(({ verdict }) => verdict),
  })
}
