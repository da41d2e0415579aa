import { existsSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'

/** What made workers are told, and where their hosts are. */

export const madeSchema = z.strictObject({
  url: z.string(),
  name: z.string(),
  hosts: z.array(z.string()),
  qemuJobs: z.int(),
  seed: z.string(),
  /** Where hosts, ledgers and the spool are. */
  folder: z.string(),
  /** What must have room. */
  roomFolder: z.string(),
  room: z.int(),
  /** Milliseconds of a boot. */
  bootMs: z.number(),
  /** How often the rig fails in a boot. */
  errorRate: z.number(),
})
export type MadeWorker = z.output<typeof madeSchema>

/** A made host: its state is a file, as that of a real one is on its disk. */
export const hostFile = (folder: string, host: string): string =>
  join(folder, `host-${host}`)

/** A host that is dead answers nobody: this file says so. */
export const deadFile = (folder: string, host: string): string =>
  join(folder, `dead-${host}`)

export const isDead = (folder: string, host: string): boolean =>
  existsSync(deadFile(folder, host))
