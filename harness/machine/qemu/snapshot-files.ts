import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'

/** What lies where in the folder of snapshots. */

/** Files of a snapshot. */
const DEVICES = /^devices\.[0-9a-f-]{36}$/
export const CONSOLE = 'console.log'
const NOTES = 'notes.json'
/** In a draft, memory that is written for it. */
export const MEMORY = 'memory'
export const PARTIAL = '.partial'
/** A folder with memory: machine, and a name of its own. */
export const MEMORY_NAME = /^[0-9a-f]{32}\.[0-9a-f-]{36}\.memory$/
const notesSchema = z.strictObject({
  devices: z.string().regex(DEVICES),
  memoryName: z.string().regex(MEMORY_NAME),
  cmdline: z.string().nullable(),
  keyidReads: z.int().nonnegative(),
  regionsAtBoot: z
    .array(
      z.strictObject({ start: z.number(), end: z.number(), node: z.int() }),
    )
    .nullable(),
})

export type Notes = z.infer<typeof notesSchema>

/** Of a snapshot, and not of a memory or what is being written. */
export const isKey = (name: string): boolean => /^[0-9a-f]{32}$/.test(name)

/** @throws when the folder has no notes, or broken ones */
export const readNotes = async (folder: string): Promise<Notes> =>
  notesSchema.parse(JSON.parse(await readFile(join(folder, NOTES), 'utf8')))

export const writeNotes = (folder: string, notes: Notes): Promise<void> =>
  writeFile(join(folder, NOTES), JSON.stringify(notes))
