import { randomUUID } from 'node:crypto'
import { readdir, rename, rm, stat, statfs } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { MEMORY_NAME, PARTIAL, isKey, readNotes } from './snapshot-files.ts'

/**
 * What is more than this part of all is large: the guest of a server. By its size
 * it saves less time than others.
 */
export const LARGE = 1 / 64
/** Milliseconds after which nobody needs a memory any more. */
const UNUSED = 3 * 24 * 60 * 60_000
/** Nor more than this part of what the file system has for them. */
const SHARE = 0.5
/** Keys of which only is known that they were asked for. */
const MARKS = 2000

/** Nobody works on one for so long, in milliseconds. */
const ABANDONED = 10 * 60_000

/** What goes when there are more. */
interface Limits {
  /** Bytes that may stay. */
  readonly most: number
  /** The name of a memory that stays in any case. */
  readonly needed: string
  /** Also what is used may go. */
  readonly replaces: boolean
}

/** Takes away what others left half done, and memories that are too many. */
export const prune = async (
  root: string,
  { most, needed, replaces }: Limits,
): Promise<void> => {
  const names = await readdir(root)
  for (const name of names.filter(one => one.endsWith(PARTIAL)))
    if (await isAbandoned(join(root, name)))
      await rm(join(root, name), { recursive: true, force: true })
  await forgetMarks(
    root,
    names.filter(name => name.endsWith('.seen')),
  )
  const memories = await byAge(
    root,
    names.filter(name => MEMORY_NAME.test(name)),
  )
  const snapshots = await byAge(root, names.filter(isKey))
  let left = most - sum(memories) - sum(snapshots)
  if (left >= 0) return
  const users = await byMemory(snapshots)
  const isLarge = ({ bytes }: Aged): boolean => bytes > most * LARGE
  const goes = async (all: readonly Aged[]): Promise<void> => {
    for (const { path } of all) await removeAt(root, path)
    left += sum(all)
  }
  for (const [memory, orphans] of users)
    if (!memories.some(({ path }) => basename(path) === memory))
      await goes(orphans)
  const mayGo = [
    ...unused(memories).reverse(),
    ...(replaces ? used(memories, isLarge) : []),
  ]
  for (const victim of mayGo) {
    if (left >= 0) return
    const name = basename(victim.path)
    if (name !== needed) await goes([victim, ...(users.get(name) ?? [])])
  }
}

const sum = (all: readonly Aged[]): number =>
  all.reduce((total, { bytes }) => total + bytes, 0)

/** Snapshots by the name of their memory; those that are none by ''. */
const byMemory = async (
  snapshots: readonly Aged[],
): Promise<Map<string, Aged[]>> => {
  const users = new Map<string, Aged[]>()
  for (const snapshot of snapshots) {
    const memory = (await memoryOf(snapshot.path)) ?? ''
    users.set(memory, [...(users.get(memory) ?? []), snapshot])
  }
  return users
}

/**
 * Large ones first. Of the others any: a matrix that needs more than there is room
 * for would find none of its own if the oldest went.
 */
const used = (
  newestFirst: readonly Aged[],
  isLarge: (one: Aged) => boolean,
): Aged[] => {
  const all = newestFirst.slice(
    0,
    newestFirst.length - unused(newestFirst).length,
  )
  const small = all
    .filter(one => !isLarge(one))
    .map(one => ({ one, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ one }) => one)
  const large = all.filter(isLarge).sort((a, b) => b.bytes - a.bytes)
  return [...large, ...small]
}

/** Those that nobody used for days. */
const unused = (newestFirst: readonly Aged[]): Aged[] => {
  const limit = Date.now() - UNUSED
  return newestFirst.filter(({ time }) => time < limit)
}

/** @returns undefined where the snapshot is none */
const memoryOf = (folder: string): Promise<string | undefined> =>
  readNotes(folder).then(
    ({ memoryName }) => memoryName,
    () => undefined,
  )

/** Code of the error of what does not fit. */
export const NO_ROOM = 'SNAPSHOT_ROOM'

/** In bytes. */
export interface Room {
  /** What all snapshots together may take. */
  readonly most: number
  /** What one more can take without the place of one that somebody uses. */
  readonly left: number
}

/** @param most bytes, whatever the file system has */
export const roomIn = async (root: string, most: number): Promise<Room> => {
  const { bavail, bsize } = await statfs(root)
  const names = await readdir(root)
  const memories = await byAge(
    root,
    names.filter(name => MEMORY_NAME.test(name)),
  )
  const taken = sum(memories) + sum(await byAge(root, names.filter(isKey)))
  const all = Math.min(most, (bavail * bsize + taken) * SHARE)
  return { most: all, left: all - taken + sum(unused(memories)) }
}

/** Under another name first: nobody may find half of it. */
export const removeAt = async (root: string, folder: string): Promise<void> => {
  const gone = join(root, `${randomUUID()}${PARTIAL}`)
  await rename(folder, gone).catch(() => undefined)
  await rm(gone, { recursive: true, force: true })
}

export interface Aged {
  readonly path: string
  /** On the disk. */
  readonly bytes: number
  /** When it was used last, in milliseconds. */
  readonly time: number
}

/** The newest first. */
export const byAge = async (
  root: string,
  names: readonly string[],
): Promise<Aged[]> => {
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
export const bytesIn = async (folder: string): Promise<number | undefined> => {
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
