import { createHash, randomUUID } from 'node:crypto'
import {
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  statfs,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { systemCode } from '../../base/errors.ts'
import { ensureFolder } from '../../base/output.ts'
import { cacheRoot } from '../../base/paths.ts'
import { GIB } from '../../base/units.ts'
import type { MemoryBackend } from './argv.ts'
import type { EarlyNotes } from '../../emulate/kernel-seen.ts'

/**
 * Counts what was changed in how a guest is brought to its first SEAMCALL, and
 * does not show in the facts of a key: answers to MSRs, and what is noted.
 */
const FORMAT = 1

/** All snapshots together; of more, those go that were not used for longest. */
const ROOM = 6 * GIB
/** Nor more than this part of what the file system has left. */
const SHARE_OF_FREE = 0.25
/** Keys of which only is known that they were asked for. */
const MARKS = 2000

/** Files of a snapshot, beside those of the memory. */
const DEVICES = 'devices'
const CONSOLE = 'console.log'
const NOTES = 'notes.json'
const PARTIAL = '.partial'
/** Nobody works on one for so long, in milliseconds. */
const ABANDONED = 10 * 60_000

const notesSchema = z.strictObject({
  cmdline: z.string().nullable(),
  keyidReads: z.int().nonnegative(),
  regionsAtBoot: z
    .array(
      z.strictObject({ start: z.number(), end: z.number(), node: z.int() }),
    )
    .nullable(),
})

/** A guest that stands in front of its first VMX instruction or SEAMCALL. */
export interface Snapshot {
  readonly key: string
  /** With a file for each piece of the memory, named by its id. */
  readonly folder: string
  /** The state of CPUs and devices, as QEMU migrates it. */
  readonly devices: string
  /** What the kernel had printed. */
  readonly console: Uint8Array
  readonly notes: EarlyNotes
}

/** A snapshot that is being taken. */
export interface Draft extends AsyncDisposable {
  readonly folder: string
  readonly devices: string
  /** Bytes that it may take. */
  readonly room: number
  /** It is complete; whoever comes with the same key can start from it. */
  keep(console: Uint8Array, notes: EarlyNotes): Promise<void>
}

/**
 * Snapshots of guests, each under a key that is made of everything the guest
 * had seen by then. Any number of processes may use it at a time; losing a
 * snapshot costs time, nothing else.
 */
export class SnapshotStore {
  readonly #root: string
  readonly #room: number
  /** Keys of which a snapshot is being taken by this process. */
  readonly #underWay = new Set<string>()

  /**
   * @param root folder of the snapshots; default: in the cache
   * @param room bytes they may take all together
   */
  constructor(
    root = join(cacheRoot(), 'snapshots'),
    { room = ROOM }: { readonly room?: number } = {},
  ) {
    this.#root = root
    this.#room = room
  }

  /** @param facts everything that a guest can tell apart */
  key(facts: unknown): string {
    return createHash('sha256')
      .update(JSON.stringify([FORMAT, facts]))
      .digest('hex')
      .slice(0, 32)
  }

  /**
   * @param backends of the guest's memory
   * @returns undefined where there is none, or it lacks something
   */
  async find(
    key: string,
    backends: readonly MemoryBackend[],
  ): Promise<Snapshot | undefined> {
    const folder = join(this.#root, key)
    try {
      const text = await readFile(join(folder, NOTES), 'utf8')
      const notes = notesSchema.parse(JSON.parse(text))
      const console = await readFile(join(folder, CONSOLE))
      const sizes = await Promise.all(
        backends.map(async ({ id }) => (await stat(join(folder, id))).size),
      )
      // QEMU would make a file that is missing, and fill it with zeros.
      if (backends.some(({ size }, i) => size !== sizes[i])) return undefined
      const now = new Date()
      await utimes(folder, now, now)
      return {
        key,
        folder,
        devices: join(folder, DEVICES),
        console,
        notes: {
          cmdline: notes.cmdline ?? undefined,
          keyidReads: notes.keyidReads,
          regionsAtBoot: notes.regionsAtBoot ?? undefined,
        },
      }
    } catch {
      return undefined
    }
  }

  /** It could not be started from. */
  async forget({ folder }: Snapshot): Promise<void> {
    await removeAt(this.#root, folder).catch(() => undefined)
  }

  /** Whether the key was asked for before, now or in another run. */
  async wasAskedFor(key: string): Promise<boolean> {
    try {
      await ensureFolder(this.#root)
      await writeFile(join(this.#root, `${key}.seen`), '', { flag: 'wx' })
      return false
    } catch (error) {
      return systemCode(error) === 'EEXIST'
    }
  }

  /** @returns undefined when one is being taken, or there is no room */
  async begin(key: string): Promise<Draft | undefined> {
    if (this.#underWay.has(key)) return undefined
    const folder = join(this.#root, `${key}.${randomUUID()}${PARTIAL}`)
    let room = 0
    try {
      await ensureFolder(this.#root)
      room = await roomIn(this.#root, this.#room)
      await mkdir(folder)
    } catch {
      return undefined
    }
    this.#underWay.add(key)
    return {
      folder,
      devices: join(folder, DEVICES),
      room,
      keep: async (console, { cmdline, keyidReads, regionsAtBoot }) => {
        const notes = {
          cmdline: cmdline ?? null,
          keyidReads,
          regionsAtBoot:
            regionsAtBoot?.map(({ start, end, node }) => ({
              start,
              end,
              node,
            })) ?? null,
        } satisfies z.input<typeof notesSchema>
        await writeFile(join(folder, CONSOLE), console)
        await writeFile(join(folder, NOTES), JSON.stringify(notes))
        await prune(this.#root, room - ((await bytesIn(folder)) ?? 0))
        // One that is there could not be used, or another rig was quicker.
        const place = join(this.#root, key)
        await removeAt(this.#root, place)
        await rename(folder, place)
      },
      [Symbol.asyncDispose]: async () => {
        this.#underWay.delete(key)
        await rm(folder, { recursive: true, force: true }).catch(
          () => undefined,
        )
      },
    }
  }
}

/**
 * Takes away what others left half done, and the oldest of what is more.
 *
 * @param most bytes that may stay
 */
const prune = async (root: string, most: number): Promise<void> => {
  const names = await readdir(root)
  for (const name of names.filter(one => one.endsWith(PARTIAL)))
    if (await isAbandoned(join(root, name)))
      await rm(join(root, name), { recursive: true, force: true })
  await forgetMarks(
    root,
    names.filter(name => name.endsWith('.seen')),
  )
  let left = most
  for (const { path, bytes } of await byAge(root, names.filter(isKey))) {
    left -= bytes
    if (left < 0) await removeAt(root, path)
  }
}

/** What all snapshots together may take. */
const roomIn = async (root: string, most: number): Promise<number> => {
  const { bavail, bsize } = await statfs(root)
  return Math.min(most, bavail * bsize * SHARE_OF_FREE)
}

/** Under another name first: nobody may find half of it. */
const removeAt = async (root: string, folder: string): Promise<void> => {
  const gone = join(root, `${randomUUID()}${PARTIAL}`)
  await rename(folder, gone).catch(() => undefined)
  await rm(gone, { recursive: true, force: true })
}

const isKey = (name: string): boolean => /^[0-9a-f]{32}$/.test(name)

/** The newest first. */
const byAge = async (
  root: string,
  names: readonly string[],
): Promise<{ readonly path: string; readonly bytes: number }[]> => {
  const all = await Promise.all(
    names.map(async name => {
      const path = join(root, name)
      const bytes = await bytesIn(path)
      const info = await stat(path).catch(() => undefined)
      return info && bytes !== undefined
        ? [{ path, bytes, time: info.mtimeMs }]
        : []
    }),
  )
  return all.flat().sort((a, b) => b.time - a.time)
}

/** What a folder takes on the disk; undefined: it is gone. */
const bytesIn = async (folder: string): Promise<number | undefined> => {
  try {
    const files = await readdir(folder)
    const infos = await Promise.all(files.map(file => stat(join(folder, file))))
    return infos.reduce((sum, { blocks }) => sum + blocks * 512, 0)
  } catch {
    return undefined
  }
}

/** Marks have no order that matters: when they are too many, all go. */
const forgetMarks = async (
  root: string,
  marks: readonly string[],
): Promise<void> => {
  if (marks.length <= MARKS) return
  await Promise.all(marks.map(mark => rm(join(root, mark), { force: true })))
}

const isAbandoned = async (path: string): Promise<boolean> => {
  const info = await stat(path).catch(() => undefined)
  return info !== undefined && Date.now() - info.mtimeMs > ABANDONED
}
