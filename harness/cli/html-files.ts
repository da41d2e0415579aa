import { createHash } from 'node:crypto'
import { readFile, realpath, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { assetPath } from '../base/assets.ts'
import { MIB } from '../base/units.ts'
import type { Baseline } from '../report/html/changes.tsx'
import { type CaseViewProps, linesTold } from '../report/html/case-view.tsx'
import { consoleLines } from '../report/html/console-lines.ts'
import { explainPage } from '../report/html/explain-page.tsx'
import type { ExplainViewProps } from '../report/html/explain-view.tsx'
import type { Script } from '../report/html/page.tsx'
import { CASES_PER_BLOCK, reportPage } from '../report/html/report-page.tsx'
import { STYLE } from '../report/html/style.ts'
import type { CaseResult, ResultDocument } from '../report/schema.ts'

/** HTML files, with what has to be read for them. */

const compress = promisify(gzip)

const sha256 = (text: string): string =>
  createHash('sha256').update(text).digest('base64')

const script = async (name: string): Promise<Script> => {
  const text = await readFile(assetPath(`page/${name}.js`), 'utf8')
  return { text, sha256: sha256(text) }
}

/** More than any console that somebody reads. */
const MAX_CONSOLE = 64 * MIB

/**
 * The console of a case. The document may come from anywhere: what it names
 * counts when it is a file in the folder of the run.
 */
const readConsole = async (
  folder: string,
  name: string,
): Promise<string | null> => {
  try {
    const path = await realpath(join(folder, name))
    const inside = !relative(await realpath(folder), path).startsWith('..')
    const info = await stat(path)
    if (!inside || !info.isFile() || info.size > MAX_CONSOLE) return null
    return await readFile(path, 'utf8')
  } catch {
    // Consoles are thrown away, and documents are kept.
    return null
  }
}

const detailsOf = async (
  result: CaseResult,
  folder: string,
): Promise<CaseViewProps> => {
  const text =
    result.console === null ? null : await readConsole(folder, result.console)
  return {
    result,
    console: text === null ? null : consoleLines(text, linesTold(result)),
  }
}

const blocksOf = async (
  { cases }: ResultDocument,
  folder: string,
): Promise<string[]> => {
  const blocks: string[] = []
  for (let at = 0; at < cases.length; at += CASES_PER_BLOCK) {
    const details = await Promise.all(
      cases
        .slice(at, at + CASES_PER_BLOCK)
        .map(result => detailsOf(result, folder)),
    )
    const packed = await compress(JSON.stringify(details))
    blocks.push(packed.toString('base64'))
  }
  return blocks
}

/**
 * The report of a run.
 *
 * @param folder where its consoles are
 */
export const reportHtml = async (
  document: ResultDocument,
  {
    folder,
    baseline,
  }: { readonly folder: string; readonly baseline: Baseline | null },
): Promise<string> =>
  reportPage({
    document,
    baseline,
    blocks: await blocksOf(document, folder),
    script: await script('report'),
    styleSha256: sha256(STYLE),
  })

/** The page that explains logs, with those that are explained already. */
export const explainHtml = async (
  boots: readonly ExplainViewProps[],
): Promise<string> =>
  explainPage({
    boots,
    script: await script('explain'),
    styleSha256: sha256(STYLE),
  })
