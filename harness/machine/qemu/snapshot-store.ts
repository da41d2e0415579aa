import { createHash, randomUUID } from 'node:crypto'
import {
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { basename, join } from 'node:path'
import { InfraError, messageOf, systemCode } from '../../base/errors.ts'
import { ensureFolder } from '../../base/output.ts'
import { cacheRoot } from '../../base/paths.ts'
import { GIB, MIB } from '../../base/units.ts'
import type { MemoryBackend } from './argv.ts'
import type { EarlyNotes } from '../../emulate/kernel-seen.ts'
import {
  CONSOLE,
  MEMORY,
  MEMORY_NAME,
  type Notes,
  PARTIAL,
  readNotes,
  writeNotes,
} from './snapshot-files.ts'
import {
  LARGE,
  NO_ROOM,
  type Room,
  byAge,
  bytesIn,
  prune,
  removeAt,
  roomIn,
} from './snapshot-room.ts'

/**
 * Counts what was changed in how a guest is brought to its first SEAMCALL, and
 * does not show in the facts of a key: answers to MSRs, and what is noted.
 */
const FORMAT = 2

/** All snapshots together. */
const ROOM = 32 * GIB
/** What is less than this part of it is too little for one. */
const TOO_LITTLE = 1 / 8192
/** So many bytes are worth a word where the disk has no more for all of them. */
const SMALL_DISK = 256 * MIB
/**
 * When there is no room, one of so many takes the place of others, if it is not
 * large. A matrix that needs more than there is would else save and lose most of
 * it in each run; one that is run in the place of another gets it bit by bit.
 */
const REPLACING = 1 / 8
/** Milliseconds for which the room is known; others may use it, too. */
const ROOM_KNOWN = 10_000
/** Memories of a machine that a guest is compared with. */
const MEMORIES = 8

/** A guest that stands in front of its first VMX instruction or SEAMCALL. */
export interface Snapshot {
  readonly key: string
  readonly folder: string
  /** Folder with a file for each piece of the memory, named by its id. */
  readonly memory: string
  /**
   * The state of CPUs and devices, as QEMU migrates it, with pages of memory
   * that differ from those of the files.
   */
  readonly devices: string
  /** What the kernel had printed. */
  readonly console: Uint8Array
  readonly notes: EarlyNotes
}

/** Memory of guests, that snapshots build upon. */
export interface StoredMemory {
  readonly name: string
  readonly folder: string
}

/** What makes a snapshot, beside devices and memory. */
export interface Kept {
  readonly console: Uint8Array
  readonly notes: EarlyNotes
  /** Of its memory in the store; undefined: it has that of the draft. */
  readonly memoryName: string | undefined
}

/** A snapshot that is being taken. */
export interface Draft extends AsyncDisposable {
  readonly devices: string
  /** A folder for its memory, which may be made. */
  readonly memory: string
  /** Memories of guests of the same machine. */
  readonly memories: readonly StoredMemory[]
  /** Bytes that it may take. */
  readonly room: number
  /** It is complete; whoever comes with the same key can start from it. */
  keep(kept: Kept): Promise<void>
  /** It was not completed, and not because nobody needs it. */
  failed(error: unknown): void
}

export interface StoreOptions {
  /** Bytes that all snapshots may take together. */
  readonly room?: number
  /** The part of those that find no room and take that of others. */
  readonly replacing?: number
  /** Told once why a snapshot could not be taken or loaded. */
  readonly onTrouble?: (why: string) => void
}

/**
 * Snapshots of guests, each under a key that is made of everything the guest
 * had seen by then. Any number of processes may use it at a time; losing a
 * snapshot costs time, nothing else.
 */
export class SnapshotStore {
  readonly #root: string
  readonly #most: number
  readonly #replacing: number
  #room: { readonly found: Room; readonly at: number } | undefined
  #onTrouble: ((why: string) => void) | undefined
  /** Keys of which a snapshot is being taken by this process. */
  readonly #underWay = new Set<string>()

  /** @param root folder of the snapshots; default: in the cache */
  constructor(
    root = join(cacheRoot(), 'snapshots'),
    { room = ROOM, replacing = REPLACING, onTrouble }: StoreOptions = {},
  ) {
    this.#root = root
    this.#most = room
    this.#replacing = replacing
    this.#onTrouble = onTrouble
  }

  /** What goes wrong goes wrong for each boot. */
  #tell(why: string): void {
    this.#onTrouble?.(why)
    this.#onTrouble = undefined
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
      const notes = await readNotes(folder)
      const console = await readFile(join(folder, CONSOLE))
      const memory = join(this.#root, notes.memoryName)
      const sizes = await Promise.all(
        backends.map(async ({ id }) => (await stat(join(memory, id))).size),
      )
      // QEMU would make a file that is missing, and fill it with zeros.
      if (backends.some(({ size }, i) => size !== sizes[i])) return undefined
      const now = new Date()
      await Promise.all([folder, memory].map(path => utimes(path, now, now)))
      return {
        key,
        folder,
        memory,
        devices: join(folder, notes.devices),
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

  async #findRoom(): Promise<Room> {
    const now = performance.now()
    if (!this.#room || now - this.#room.at > ROOM_KNOWN)
      this.#room = { found: await roomIn(this.#root, this.#most), at: now }
    return this.#room.found
  }

  /** It could not be started from. */
  async forget({ folder, memory }: Snapshot): Promise<void> {
    // Another rig may have removed it.
    const isThere = await stat(memory).then(
      () => true,
      () => false,
    )
    if (isThere) this.#tell(`QEMU did not load ${folder}, which is removed`)
    await removeAt(this.#root, folder).catch(() => undefined)
  }

  /** Whether the key was asked for before, now or in another run. */
  async wasAskedFor(key: string): Promise<boolean> {
    const mark = join(this.#root, `${key}.seen`)
    try {
      await ensureFolder(this.#root)
      return await writeFile(mark, '', { flag: 'wx' }).then(
        () => false,
        (error: unknown) => {
          if (systemCode(error) === 'EEXIST') return true
          throw error
        },
      )
    } catch (error) {
      this.#tell(messageOf(error))
      return false
    }
  }

  /**
   * @param machine key of what memories must have in common to be compared
   * @returns undefined when one is being taken, or there is no room: what is used
   *   makes room for few others
   */
  async begin(key: string, machine: string): Promise<Draft | undefined> {
    if (this.#underWay.has(key)) return undefined
    const folder = join(this.#root, `${key}.${randomUUID()}${PARTIAL}`)
    let most: number
    let room: number
    let replaces: boolean
    let memories: StoredMemory[]
    try {
      await ensureFolder(this.#root)
      const found = await this.#findRoom()
      most = found.most
      if (most < SMALL_DISK && most < this.#most)
        this.#tell(
          `expected room for ${SMALL_DISK / MIB} MiB of them at ${this.#root}, found ${Math.round(most / MIB)} MiB`,
        )
      replaces = Math.random() < this.#replacing
      room = replaces ? Math.max(found.left, most * LARGE) : found.left
      if (room < this.#most * TOO_LITTLE) return undefined
      memories = await memoriesOf(this.#root, machine)
      await mkdir(folder)
    } catch (error) {
      this.#tell(messageOf(error))
      return undefined
    }
    this.#underWay.add(key)
    // Its own name: whoever has read the notes of another snapshot of this key
    // must not find it in the place of that one's.
    const devices = `devices.${randomUUID()}`
    return {
      devices: join(folder, devices),
      memory: join(folder, MEMORY),
      memories,
      room,
      keep: async ({ console, notes, memoryName }) => {
        const name = memoryName ?? `${machine}.${randomUUID()}.memory`
        await writeFile(join(folder, CONSOLE), console)
        await writeNotes(folder, {
          devices,
          memoryName: name,
          ...notesOf(notes),
        })
        const memory = join(this.#root, name)
        const now = new Date()
        if (memoryName === undefined) await rename(join(folder, MEMORY), memory)
        else await utimes(memory, now, now)
        const rest = most - ((await bytesIn(folder)) ?? 0)
        await prune(this.#root, { most: rest, needed: name, replaces })
        this.#room = undefined
        // One that is there could not be used, or another rig was quicker.
        const place = join(this.#root, key)
        await removeAt(this.#root, place)
        await rename(folder, place)
      },
      failed: error => {
        if (!isUsual(error)) this.#tell(messageOf(error))
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

/** There is no room, or another rig was quicker to remove or keep something. */
const isUsual = (error: unknown): boolean =>
  (error instanceof InfraError && error.code === NO_ROOM) ||
  ['ENOENT', 'EEXIST', 'ENOTEMPTY'].includes(systemCode(error) ?? '')

/** Those that were used last. */
const memoriesOf = async (
  root: string,
  machine: string,
): Promise<StoredMemory[]> => {
  const names = (await readdir(root)).filter(
    name => name.startsWith(`${machine}.`) && MEMORY_NAME.test(name),
  )
  const latest = (await byAge(root, names)).slice(0, MEMORIES)
  return latest.map(({ path }) => ({ name: basename(path), folder: path }))
}

const notesOf = ({
  cmdline,
  keyidReads,
  regionsAtBoot,
}: EarlyNotes): Omit<Notes, 'devices' | 'memoryName'> => ({
  cmdline: cmdline ?? null,
  keyidReads,
  regionsAtBoot:
    regionsAtBoot?.map(({ start, end, node }) => ({ start, end, node })) ??
    null,
})
