import { readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { ensureFolder, writeWhole } from '../base/output.ts'
import { VERDICTS } from '../judge/context.ts'
import { type AttemptKey, type Finished, keyText } from './attempts.ts'

/**
 * Results on their way to the database, in files: a worker that dies while the
 * database is away has lost none of them.
 */

const bytes = z
  .base64()
  .nullable()
  .transform(text => (text === null ? null : Buffer.from(text, 'base64')))

const spooledSchema = z.strictObject({
  attempt: z.strictObject({
    night: z.int(),
    cell: z.int(),
    number: z.int(),
  }),
  finished: z.strictObject({
    verdict: z.enum(VERDICTS),
    machine: z.string(),
    totalMs: z.number(),
    message: z.string().nullable(),
    body: bytes,
    console: bytes,
  }),
})

interface Spooled {
  readonly attempt: AttemptKey
  readonly finished: Finished
}

export class Spool {
  readonly #folder: string

  /** @param folder of this worker and this database alone */
  constructor(folder: string) {
    this.#folder = folder
  }

  async put({ attempt, finished }: Spooled): Promise<void> {
    const { body, console } = finished
    const base64 = (data: Uint8Array | null): string | null =>
      data && Buffer.from(data).toString('base64')
    await ensureFolder(this.#folder)
    await writeWhole(
      this.#path(attempt),
      JSON.stringify({
        attempt,
        finished: { ...finished, body: base64(body), console: base64(console) },
      }),
    )
  }

  async drop(attempt: AttemptKey): Promise<void> {
    await rm(this.#path(attempt), { force: true })
  }

  /** What an earlier worker could not store. */
  async left(): Promise<Spooled[]> {
    const names = await readdir(this.#folder).catch(() => [])
    const spooled: Spooled[] = []
    for (const name of names.filter(one => one.endsWith('.json'))) {
      const path = join(this.#folder, name)
      const text = await readFile(path, 'utf8')
      // Files appear as a whole: what cannot be read is of another version.
      const parsed = spooledSchema.safeParse(jsonOf(text))
      if (parsed.success) spooled.push(parsed.data)
    }
    return spooled
  }

  #path(attempt: AttemptKey): string {
    return join(this.#folder, `${keyText(attempt)}.json`)
  }
}

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
