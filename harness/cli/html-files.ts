import { createHash } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { assetPath } from '../base/assets.ts'
import { KIB } from '../base/units.ts'
import type { Baseline } from '../report/html/changes.tsx'
import type { CaseViewProps } from '../report/html/case-view.tsx'
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

/** Of longer consoles the beginning and the end are in a report. */
const HEAD = 256 * KIB
const TAIL = 128 * KIB

const readConsole = async (path: string): Promise<string | null> => {
  const file = await open(path).catch(() => undefined)
  if (!file) return null
  try {
    const { size } = await file.stat()
    const part = async (from: number, length: number): Promise<string> => {
      const bytes = Buffer.alloc(length)
      const { bytesRead } = await file.read(bytes, 0, length, from)
      return bytes.subarray(0, bytesRead).toString('utf8')
    }
    if (size <= HEAD + TAIL) return await part(0, size)
    const left = size - HEAD - TAIL
    return `${await part(0, HEAD)}\n[${left} bytes are left out here; line numbers behind this are not those of the file]\n${await part(size - TAIL, TAIL)}`
  } finally {
    await file.close()
  }
}

const detailsOf = async (
  result: CaseResult,
  folder: string,
): Promise<CaseViewProps> => ({
  result,
  console:
    result.console === null
      ? null
      : await readConsole(join(folder, result.console)),
})

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
