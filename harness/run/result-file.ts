import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type * as z from 'zod'
import { UsageError, messageOf, systemCode } from '../base/errors.ts'
import {
  type ComparedDocument,
  type ResultDocument,
  comparedSchema,
  documentSchema,
} from '../report/schema.ts'
import { JOURNAL } from './journal.ts'

/** The name of a result document in the folder of a run. */
const RESULT = 'result.json'

/**
 * Reads a result document.
 *
 * @param path of the document, or of the folder of a run
 * @throws UsageError for what is no such document
 */
export const readResult = (
  path: string,
): Promise<{ readonly file: string; readonly document: ResultDocument }> =>
  readAs(path, documentSchema)

/** Of a result document what it is compared by. @throws UsageError as above */
export const readCompared = async (path: string): Promise<ComparedDocument> =>
  (await readAs(path, comparedSchema)).document

const readAs = async <T>(
  path: string,
  schema: z.ZodType<T>,
): Promise<{ readonly file: string; readonly document: T }> => {
  const file = await documentIn(path)
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw wrong(file, `it cannot be read: ${messageOf(error)}`)
  })
  let data: unknown
  try {
    data = JSON.parse(text)
  } catch (error) {
    throw wrong(file, `it is no JSON: ${messageOf(error)}`)
  }
  const parsed = schema.safeParse(data)
  if (parsed.success) return { file, document: parsed.data }
  throw wrong(file, problemIn(data, parsed.error))
}

const documentIn = async (path: string): Promise<string> => {
  const isFolder = async (): Promise<boolean> =>
    (await stat(path).catch(() => undefined))?.isDirectory() ?? false
  if (!(await isFolder())) return path
  const file = join(path, RESULT)
  const found = await stat(file).catch((error: unknown) => systemCode(error))
  if (found !== 'ENOENT') return file
  const journal = await stat(join(path, JOURNAL)).catch(() => undefined)
  throw wrong(
    path,
    journal
      ? `the run in it was killed before it wrote ${RESULT}: finish it with tdxrig run --resume`
      : `there is no ${RESULT} in it`,
  )
}

const wrong = (file: string, why: string): UsageError =>
  new UsageError('RESULT', `${file}: expected a result document: ${why}`)

const SCHEMA = documentSchema.shape.schema.value

const problemIn = (data: unknown, error: z.ZodError): string => {
  const { schema } = (data ?? {}) as { readonly schema?: unknown }
  if (typeof schema !== 'string')
    return `expected schema '${SCHEMA}', found none`
  if (schema !== SCHEMA)
    return `expected schema '${SCHEMA}', found '${schema}'${schema.startsWith('tdxrig.result/') ? ', of another version of tdxrig: run the cases again' : ''}`
  const [issue] = error.issues
  return issue
    ? `${issue.path.map(String).join('.')}: ${issue.message}`
    : 'it does not follow the schema'
}
