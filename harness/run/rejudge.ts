import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import type { ReadEntry } from 'tar'
import * as z from 'zod'
import { UsageError, messageOf, systemCode } from '../base/errors.ts'
import { readArchive } from '../base/archive.ts'
import { type Bytes, unpacked } from '../base/packed.ts'
import { MIB } from '../base/units.ts'
import { boardNamed } from '../board/index.ts'
import { ConsoleReader } from '../console/reader.ts'
import type { JudgedOutcome } from '../judge/case-outcome.ts'
import { judge } from '../judge/judge.ts'
import { predictCase } from '../judge/prediction.ts'
import { readRecord } from '../machine/record-file.ts'
import { shellLine } from '../base/shell.ts'
import {
  buildScenario,
  caseOf,
  isRefused,
  problemTexts,
} from '../scenario/build.ts'
import type { Case } from '../scenario/case.ts'
import { TRIGGER_KINDS } from '../tdx/series/series.ts'
import { SERIES_NAMES, seriesNamed } from '../tdx/series/index.ts'
import { BUNDLED, BUNDLE_SCHEMA } from './bundle-files.ts'
import { evidenceFrom } from './evidence.ts'
import { folderName } from './store.ts'

/** More than any case or record; a console may be of any size. */
const MAX_JSON = 64 * MIB

const bundleSchema = z.object({
  schema: z.literal(BUNDLE_SCHEMA, {
    error: ({ input }) =>
      `expected '${BUNDLE_SCHEMA}', found '${String(input)}': it was written by another version of tdxrig`,
  }),
  id: z.string(),
  scenario: z.string(),
  board: z.string(),
  input: z.unknown(),
  kernel: z.object({
    name: z.string(),
    key: z.string(),
    series: z
      .enum(SERIES_NAMES)
      .nullable()
      .transform(name => (name === null ? undefined : seriesNamed(name))),
    release: z
      .string()
      .nullable()
      .transform(release => release ?? undefined),
    trigger: z.enum(TRIGGER_KINDS),
    hostsTdx: z.boolean().default(true),
    hibernates: z.boolean().default(false),
    hasMemlist: z.boolean().default(true),
    printsRegions: z.boolean(),
    failsRegions: z.boolean(),
    realMode: z
      .int()
      .nullable()
      .default(null)
      .transform(size => size ?? undefined),
    range: z
      .strictObject({ start: z.int().min(0), end: z.int().min(0) })
      .nullable()
      .transform(range => range ?? undefined),
  }),
})

/** What is in a bundle, as it is read. */
interface Content {
  /** What its README says: verdict and reasons, for people. */
  readonly verdict: readonly string[]
  readonly texts: ReadonlyMap<string, string>
  /** Undefined: the boot came to no console. */
  readonly console: ConsoleReader | undefined
}

/**
 * Judges a bundled case again: its console is read anew, the prediction is
 * made anew, and nothing is booted.
 *
 * @throws UsageError for what is no bundle
 */
export const rejudge = async (path: string): Promise<JudgedOutcome> => {
  const { texts, console } = await readBundle(path)
  const content = { path, texts }
  const parsed = parse(content, BUNDLED.case, data => bundleSchema.parse(data))
  const { kernel } = parsed
  const item = bundledCase(path, parsed)
  if (!texts.has(BUNDLED.record))
    throw new UsageError(
      'NO_BOOT',
      `${path}: no boot finished, so there is nothing to judge: see ${BUNDLED.result} in it`,
    )
  const record = parse(content, BUNDLED.record, data =>
    readRecord(data, console ? BUNDLED.console : null),
  )
  const judged = { ...kernel, kernelImage: kernel.range }
  const prediction = predictCase(item, judged)
  const evidence = evidenceFrom(record, console ?? endedReader())
  return {
    kind: 'judged',
    item,
    kernel: { name: kernel.name, key: kernel.key, build: undefined },
    prediction,
    judgement: judge({ item, kernel: judged, prediction, evidence }),
    evidence,
    console: console ? `${path}:${BUNDLED.console}` : null,
  }
}

/** The shell line that unpacks a bundle, and runs the case in it again. */
export const rerunLine = (
  path: string,
  program: string,
  { id }: Pick<Case, 'id'>,
): string =>
  `${shellLine(['tar', 'xzf', path])} && ${shellLine([
    program,
    'run',
    join(folderName(id), BUNDLED.scenario),
  ])}`

const endedReader = (): ConsoleReader => {
  const reader = new ConsoleReader()
  reader.end()
  return reader
}

const bundledCase = (
  path: string,
  bundle: z.output<typeof bundleSchema>,
): Case => {
  const wrong = (problems: readonly string[]): UsageError =>
    new UsageError(
      'BUNDLE',
      `${path}: the case in it cannot be built: ${fewOf(problems)}`,
    )
  const board = boardNamed(bundle.board)
  if (!board) throw wrong([`there is no board '${bundle.board}'`])
  const built = buildScenario(bundle.input, board)
  if (isRefused(built)) throw wrong(problemTexts(built))
  return caseOf(built, {
    id: bundle.id,
    scenario: bundle.scenario,
    kernel: bundle.kernel.name,
  })
}

interface Texts {
  readonly path: string
  readonly texts: Content['texts']
}

const parse = <T>(
  { path, texts }: Texts,
  file: string,
  read: (data: unknown) => T,
): T => {
  const text = texts.get(file)
  if (text === undefined)
    throw new UsageError(
      'BUNDLE',
      `${path}: expected a bundle of tdxrig run --bundle, found no ${file} in it`,
    )
  try {
    return read(JSON.parse(text))
  } catch (error) {
    throw new UsageError('BUNDLE', `${path}: ${file}: ${reasonOf(error)}`)
  }
}

/** Reasons that are shown of a verdict. */
const VERDICT_LINES = 12

/** Problems that are told one by one. */
const FEW = 5

const fewOf = (problems: readonly string[]): string =>
  [
    ...new Set(problems.slice(0, FEW)),
    ...(problems.length > FEW ? [`and ${problems.length - FEW} more`] : []),
  ].join('; ')

const reasonOf = (error: unknown): string =>
  error instanceof z.ZodError
    ? fewOf(
        error.issues.map(
          ({ path, message }) => `${path.map(String).join('.')}: ${message}`,
        ),
      )
    : messageOf(error)

/** Takes what belongs to a bundle out of an archive. */
export class BundleReader {
  readonly #texts = new Map<string, string>()
  readonly #taken = new Set<string>()
  #console: ConsoleReader | undefined

  /** @returns whether the entry was taken */
  take(entry: ReadEntry): boolean {
    const [name, ...above] = entry.path.split('/').toReversed()
    if (entry.type !== 'File' || above.length > 1) return false
    if (name === BUNDLED.console && !this.#console) {
      const reader = (this.#console = new ConsoleReader())
      entry.on('data', chunk => {
        reader.push(chunk)
      })
      entry.on('end', () => {
        reader.end()
      })
      return true
    }
    if (!isText(name) || entry.size > MAX_JSON || this.#taken.has(name))
      return false
    this.#taken.add(name)
    const chunks: Buffer[] = []
    entry.on('data', chunk => chunks.push(chunk))
    entry.on('end', () =>
      this.#texts.set(name, Buffer.concat(chunks).toString('utf8')),
    )
    return true
  }

  content(): Content {
    const readme = this.#texts.get(BUNDLED.readme) ?? ''
    const verdict = readme.split('\n\n')[0]!.split('\n')
    return {
      texts: this.#texts,
      console: this.#console,
      verdict: verdict.slice(0, VERDICT_LINES),
    }
  }
}

const readBundle = async (path: string): Promise<Content> => {
  const bundle = new BundleReader()
  try {
    await readArchive(await archiveIn(path), entry => {
      if (!bundle.take(entry)) entry.resume()
    })
  } catch (error) {
    throw new UsageError(
      'BUNDLE',
      /^E[A-Z]+$/.test(systemCode(error) ?? '')
        ? `cannot read ${path}: ${messageOf(error)}`
        : `${path}: expected an archive of tdxrig run --bundle: ${messageOf(error)}`,
    )
  }
  return bundle.content()
}

const archiveIn = async (path: string): Promise<Bytes> => {
  const { archive, bytes } = await unpacked(createReadStream(path))
  if (archive) return bytes
  throw new Error('it is no such archive')
}

const isText = (name: string | undefined): name is string =>
  name === BUNDLED.case || name === BUNDLED.record || name === BUNDLED.readme
