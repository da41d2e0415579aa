import { appendFile, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { UsageError, messageOf, systemCode } from '../base/errors.ts'
import { ensureFolder, writeWhole } from '../base/output.ts'

/**
 * What a bisect has found so far: JSON, one document a line. One that was
 * killed goes on where it was: what is judged is not booted again.
 */

const JOURNAL = 'bisect.jsonl'

/** What was asked for. */
const requestSchema = z.strictObject({
  schema: z.literal('tdxrig.bisect/1'),
  scenario: z.string(),
  filter: z.array(z.string()),
  kernel: z.string(),
  accel: z.enum(['auto', 'tcg', 'kvm']),
  confidence: z.number().gt(0).lt(1),
  /** Commits of a tree, or patches on the kernel's source. */
  over: z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('commits'),
      tree: z.string(),
      /** Hashes. */
      good: z.string(),
      bad: z.string(),
    }),
    z.strictObject({
      kind: z.literal('patches'),
      /** A file with the series; null: the kernel's own. */
      series: z.string().nullable(),
    }),
  ]),
})
export type BisectRequest = z.output<typeof requestSchema>

const stepSchema = z.strictObject({
  /** Of the commit, or the number of patches: names its folder. */
  name: z.string(),
  title: z.string(),
  finding: z.enum(['good', 'bad', 'skip']),
  boots: z.int(),
  failed: z.int(),
  /** What failed, or why it could not be judged. */
  why: z.string(),
  /** Checks that failed, and the cases in which they did. */
  checks: z.array(z.string()),
  cases: z.array(z.string()),
})
export type BisectStep = z.output<typeof stepSchema>

/** A bisect under way, in its folder. */
export interface BisectJournal {
  readonly request: BisectRequest
  readonly steps: Map<string, BisectStep>
  readonly add: (step: BisectStep) => Promise<void>
}

const journalIn = (folder: string, request: BisectRequest): BisectJournal => {
  const steps = new Map<string, BisectStep>()
  return {
    request,
    steps,
    add: async step => {
      steps.set(step.name, step)
      await appendFile(join(folder, JOURNAL), `${JSON.stringify(step)}\n`)
    },
  }
}

export const startJournal = async (
  folder: string,
  request: BisectRequest,
): Promise<BisectJournal> => {
  await ensureFolder(folder)
  await writeWhole(join(folder, JOURNAL), `${JSON.stringify(request)}\n`)
  return journalIn(folder, request)
}

/**
 * Reads what a bisect has come to. What stands behind the last whole line was
 * cut off when it was killed.
 *
 * @throws UsageError for what is no such folder
 */
export const resumeJournal = async (folder: string): Promise<BisectJournal> => {
  const path = join(folder, JOURNAL)
  const wrong = (why: string): UsageError =>
    new UsageError(
      'BISECT',
      `${path}: ${why}; --resume takes the folder of a bisect`,
    )
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw wrong(
      systemCode(error) === 'ENOENT'
        ? 'expected the journal of a bisect, found no such file'
        : `cannot be read: ${messageOf(error)}`,
    )
  })
  const [head = '', ...lines] = text.split('\n').slice(0, -1)
  const parse = <T>(schema: z.ZodType<T>, line: string, number: number): T => {
    try {
      return schema.parse(JSON.parse(line))
    } catch {
      throw wrong(`line ${number} is not of this version of tdxrig`)
    }
  }
  const journal = journalIn(folder, parse(requestSchema, head, 1))
  for (const [i, line] of lines.entries()) {
    const step = parse(stepSchema, line, i + 2)
    journal.steps.set(step.name, step)
  }
  // Whatever was cut off would run into the next line.
  await writeWhole(path, [head, ...lines].map(line => `${line}\n`).join(''))
  return journal
}
