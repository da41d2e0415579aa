import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { readdir, readlink, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { InfraError } from '../../base/errors.ts'
import type { MemoryBackend } from './argv.ts'
import {
  type MemoryFile,
  copyMemory,
  differences,
  likeness,
  memoryIn,
  usedBytes,
} from './guest-memory.ts'
import { type Page, paused, withPages } from './migration-stream.ts'
import type { QmpClient } from './qmp.ts'
import { NO_ROOM } from './snapshot-room.ts'
import type { Draft } from './snapshot-store.ts'
import { dataRanges } from './sparse-file.ts'
import { Incoming } from './sockets.ts'

/**
 * Snapshots of guests by means of QEMU's migration: memory is left out of the
 * stream (x-ignore-shared) and kept in files, which other guests map. What they
 * write stays with them. Guests of one kernel that differ in their command lines
 * differ in some hundred pages: those are put into the stream.
 */

const CAPABILITIES = {
  capabilities: [
    { capability: 'x-ignore-shared', state: true },
    { capability: 'events', state: true },
  ],
}

/** A QEMU whose guest has stopped, with memory that is shared. */
export interface StoppedGuest {
  readonly qmp: QmpClient
  readonly pid: number
  readonly backends: readonly MemoryBackend[]
  /** For the socket of the migration. */
  readonly directory: string
  /** Nobody needs the snapshot any more. */
  readonly signal: AbortSignal
}

/**
 * Writes devices and memory of a guest for a draft: of the memory the pages in
 * which it differs from one that is kept already, or all of it. The guest can go
 * on afterwards.
 *
 * @returns the name of the memory that the rest is in; undefined: all was written
 * @throws InfraError when QEMU refuses or is gone, its memory is not where it
 *   should be, there is no room, or the signal comes
 */
export const saveGuest = async (
  guest: StoppedGuest,
  { devices, memory, memories, room }: Draft,
): Promise<string | undefined> => {
  const { qmp, directory, signal } = guest
  await qmp.execute('migrate-set-capabilities', CAPABILITIES)
  const path = join(directory, 'migration')
  await using incoming = await Incoming.listen(path)
  const over = migrationIsOver(qmp)
  const stream = await Promise.race([
    Promise.all([
      incoming.connection.then(buffer),
      over,
      qmp.execute('migrate', { uri: `unix:${path}` }),
    ]).then(([stream]) => stream),
    brokenOff(qmp, signal),
  ])
  const files = await memoryFiles(guest)
  const base = await baseOf(files, { memories, room }, signal)
  if (base) {
    await writeFile(devices, withPages(paused(stream), base.pages))
    return base.name
  }
  const bytes = usedBytes(files)
  if (bytes > room)
    throw new InfraError(
      NO_ROOM,
      `expected a guest that fits into ${room} bytes, found ${bytes}`,
    )
  await writeFile(devices, paused(stream))
  await copyMemory(files, memory, signal)
  return undefined
}

/** Rejects when QEMU is gone, or the signal comes. */
const brokenOff = (qmp: QmpClient, signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const stop = (): void => {
      reject(new InfraError('SNAPSHOT', 'the guest is not saved any more'))
    }
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    void qmp.closed.then(() => {
      reject(new InfraError('QMP_CLOSED', 'QEMU ended while it saved a guest'))
    })
  })

/**
 * Loads the devices of a guest that was started with `-incoming defer` and the
 * files of a snapshot for its memory. It does not run yet.
 *
 * @throws InfraError when QEMU refuses, or is gone
 */
export const loadGuest = async (
  qmp: QmpClient,
  { devices, directory }: Saved,
): Promise<void> => {
  await qmp.execute('migrate-set-capabilities', CAPABILITIES)
  const over = migrationIsOver(qmp)
  // It may fail before it is waited for.
  over.catch(() => undefined)
  const path = join(directory, 'migration')
  await qmp.execute('migrate-incoming', { uri: `unix:${path}` })
  // It listens as soon as it has answered.
  const socket = connect(path)
  await once(socket, 'connect')
  // It says itself whether it got all, and may close this before the last write
  // is known to be done.
  pipeline(createReadStream(devices), socket).catch(() => undefined)
  await Promise.race([over, qmp.closed])
  // Says so when it is gone.
  await qmp.execute('query-status')
}

/** Where the devices of a guest were saved. */
interface Saved {
  readonly devices: string
  /** For the socket of the migration. */
  readonly directory: string
}

const migrationIsOver = async (qmp: QmpClient): Promise<void> => {
  const { data } = await qmp.next(
    ({ event, data: { status } }) =>
      event === 'MIGRATION' && (status === 'completed' || status === 'failed'),
  )
  if (data['status'] !== 'completed')
    throw new InfraError(
      'SNAPSHOT',
      'expected QEMU to save or load the devices of a guest, it says that it failed',
    )
}

/**
 * The files behind the memory of a QEMU: they have no name, and their numbers
 * ascend in the order in which they were made.
 */
const memoryFiles = async ({
  pid,
  backends,
  signal,
}: StoppedGuest): Promise<MemoryFile[]> => {
  const folder = `/proc/${pid}/fd`
  const numbers = (await readdir(folder)).map(Number).sort((a, b) => a - b)
  const files: { readonly path: string; readonly size: number }[] = []
  for (const number of numbers) {
    const path = `${folder}/${number}`
    const target = await readlink(path).catch(() => '')
    if (!target.startsWith('/memfd:memory-backend-memfd')) continue
    files.push({ path, size: (await stat(path)).size })
  }
  const sizes = files.map(({ size }) => size)
  const expected = backends.map(({ size }) => size)
  if (sizes.join() !== expected.join())
    throw new InfraError(
      'SNAPSHOT',
      `expected QEMU to keep the memory of its guest in files of ${expected.join(', ')} bytes, found ${sizes.join(', ') || 'none'}`,
    )
  return Promise.all(
    files.map(async ({ path, size }, i) => ({
      id: backends[i]!.id,
      path,
      size,
      used: await dataRanges({ path, size }, signal),
    })),
  )
}

/** Of another memory no more than this part may differ. */
const FEW = 0.25
/** Of some pages so many are the same, or it is not looked closer at. */
const ALIKE = 0.5

/** What most of a guest's memory is the same as. */
interface Base {
  /** Its name in the store. */
  readonly name: string
  /** In which the guest's memory differs. */
  readonly pages: readonly Page[]
}

/** The memory that is there and most alike, if it is alike. */
const baseOf = async (
  files: readonly MemoryFile[],
  { memories, room }: Pick<Draft, 'memories' | 'room'>,
  signal: AbortSignal,
): Promise<Base | undefined> => {
  const known = await Promise.all(
    memories.map(async ({ name, folder }) => {
      const others = await memoryIn(folder, files)
      const same = others ? await likeness(files, others) : 0
      return { name, others, same }
    }),
  )
  const [best] = known.sort((a, b) => b.same - a.same)
  if (!best?.others || best.same < ALIKE) return undefined
  const most = Math.min(room, usedBytes(files) * FEW)
  const pages = await differences(files, best.others, { most, signal })
  return pages && { name: best.name, pages }
}
