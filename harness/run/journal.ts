import { createHash } from 'node:crypto'
import { appendFile, readFile } from 'node:fs/promises'
import * as z from 'zod'
import { UsageError, messageOf, systemCode } from '../base/errors.ts'
import { writeWhole } from '../base/output.ts'
import { resultDocument } from '../report/document.ts'
import type { Reporter, RunHead } from '../report/reporter.ts'
import {
  type CaseResult,
  type ResultDocument,
  caseSchema,
} from '../report/schema.ts'
import type { Case } from '../scenario/case.ts'

/**
 * The journal of a run: JSON, one document a line. The first line says what
 * was asked for; each other line is a case, written when it is finished. A run
 * that was killed has lost nothing but the cases that were under way.
 */

/** Its name in the folder of the run. */
export const JOURNAL = 'journal.jsonl'

/** What was asked of a run, to ask it again. */
const requestSchema = z.strictObject({
  paths: z.array(z.string()),
  kernels: z.array(z.string()),
  kernelBuilds: z.array(z.string()),
  filter: z.array(z.string()),
  accel: z.enum(['auto', 'tcg', 'kvm']),
  /** Names and labels of physical hosts; none: QEMU. */
  hosts: z.array(z.string()).default([]),
  /** The inventory they are in; null: the usual one. */
  inventory: z.string().nullable().default(null),
  repeat: z.int().default(1),
  retries: z.int().default(0),
  /** Boots end when TDX is initialised, where nothing is asked behind that. */
  stopAtOutcome: z.boolean().default(false),
  /** Boots go on from snapshots, and are stopped less. */
  shortcuts: z.boolean().default(true),
})
export type RunRequest = z.output<typeof requestSchema>

const headSchema = z.strictObject({
  schema: z.literal('tdxrig.journal/1'),
  started: z.string(),
  board: z.string(),
  /** Key of each kernel's build, by name. */
  kernels: z.record(z.string(), z.string()),
  /** Fingerprint of each case that was asked for, by its id. */
  cases: z.record(z.string(), z.string()),
  request: requestSchema,
})
type JournalHead = z.output<typeof headSchema>

/** The same as long as the scenario and the version of tdxrig are. */
export const fingerprint = (
  { input }: Pick<Case, 'input'>,
  version: string,
): string =>
  createHash('sha256')
    .update(JSON.stringify([version, input]))
    .digest('hex')
    .slice(0, 16)

/** A run that came to some of its cases. */
export interface Journal {
  readonly head: JournalHead
  readonly cases: readonly CaseResult[]
}

/**
 * Reads the journal of a run. What stands behind the last whole line was cut
 * off when the run was killed, and is left out.
 *
 * @throws UsageError for what is no journal
 */
export const readJournal = async (path: string): Promise<Journal> => {
  const wrong = (why: string): UsageError =>
    new UsageError(
      'JOURNAL',
      `${path}: ${why}; --resume takes the folder of a run`,
    )
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw wrong(
      systemCode(error) === 'ENOENT'
        ? 'expected the journal of a run, found no such file'
        : `cannot be read: ${messageOf(error)}`,
    )
  })
  const [first = '', ...lines] = text.split('\n').slice(0, -1)
  const read = <T>(schema: z.ZodType<T>, line: string, number: number): T => {
    try {
      return schema.parse(JSON.parse(line))
    } catch {
      throw wrong(`line ${number} is not a journal line of this tdxrig version`)
    }
  }
  return {
    head: read(headSchema, first, 1),
    cases: lines.map((line, i) => read(caseSchema, line, i + 2)),
  }
}

/** A file with the document, in some form. */
export interface DocumentTarget {
  readonly path: string
  readonly render: (document: ResultDocument) => string | Promise<string>
}

/** Where documents go. */
export interface DocumentTargets {
  readonly journal: string
  /** Each is written when the run is over. */
  readonly documents: readonly DocumentTarget[]
}

/** What a run is about, and what it has already when it goes on. */
export interface Journaled {
  readonly request: RunRequest
  /** Of every case that was asked for, by its id. */
  readonly fingerprints: Readonly<Record<string, string>>
  /** Results of cases that are not run again. */
  readonly before: readonly CaseResult[]
}

/** Writes the journal as the run goes on, and the document at its end. */
export const documentReporter = (
  { journal, documents }: DocumentTargets,
  { request, fingerprints, before }: Journaled,
): Reporter => {
  const cases: CaseResult[] = [...before]
  const order = Object.keys(fingerprints)
  /** As they were asked for, whichever was finished first. */
  const inOrder = (results: readonly CaseResult[]): CaseResult[] =>
    results.toSorted((a, b) => order.indexOf(a.id) - order.indexOf(b.id))
  let head: RunHead | undefined
  let written = Promise.resolve()
  const line = (data: unknown): string => `${JSON.stringify(data)}\n`
  return {
    start: async started => {
      head = started
      const first: JournalHead = {
        schema: 'tdxrig.journal/1',
        started: started.started,
        board: started.rig.board,
        kernels: Object.fromEntries(
          started.kernels.map(({ name, key }) => [name, key]),
        ),
        cases: fingerprints,
        request,
      }
      await writeWhole(journal, [first, ...before].map(line).join(''))
    },
    case: async result => {
      cases.push(result)
      // One after the other: a long line is written in pieces.
      const append = (): Promise<void> => appendFile(journal, line(result))
      written = written.then(append, append)
      await written
    },
    end: async end => {
      if (!head) return
      const document = resultDocument(head, end, inOrder(cases))
      for (const { path, render } of documents)
        await writeWhole(path, await render(document))
    },
  }
}
