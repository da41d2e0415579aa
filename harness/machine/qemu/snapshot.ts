import { createReadStream } from 'node:fs'
import { readdir, readlink, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { execa } from 'execa'
import { endsWithUs } from '../../base/ends-with-us.ts'
import { InfraError } from '../../base/errors.ts'
import type { MemoryBackend } from './argv.ts'
import type { QmpClient } from './qmp.ts'
import type { Draft } from './snapshot-store.ts'
import { Incoming } from './sockets.ts'

/**
 * Snapshots of guests by means of QEMU's migration: memory is left out of the
 * stream (x-ignore-shared) and copied as a file, which other guests map. What
 * they write stays with them.
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
 * Writes memory and devices of a guest into the folder of a draft. The guest
 * can go on afterwards.
 *
 * @throws InfraError when QEMU refuses or is gone, its memory is not where it
 *   should be, there is no room, or the signal comes
 */
export const saveGuest = async (
  { qmp, pid, backends, directory, signal }: StoppedGuest,
  { folder, devices, room }: Draft,
): Promise<void> => {
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
  await writeFile(devices, paused(stream))
  const files = await memoryFiles(pid, backends)
  const bytes = files.reduce((sum, { blocks }) => sum + blocks * 512, 0)
  if (bytes > room)
    throw new InfraError(
      'SNAPSHOT',
      `expected a guest that fits into ${room} bytes, found ${bytes}`,
    )
  for (const [i, { id }] of backends.entries())
    await copySparsely(files[i]!.path, join(folder, id), signal)
}

/** Rejects when QEMU is gone, or the signal comes. */
const brokenOff = (qmp: QmpClient, signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const stop = (): void => {
      reject(new InfraError('SNAPSHOT', 'the guest is not needed any more'))
    }
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    void qmp.closed.then(stop)
  })

/** In the stream: the length of a section's name, and the name. */
const STATE_SECTION = Buffer.from('\x0bglobalstate')
/** Instance and version of the section, each four bytes. */
const STATE_HEADER = 8
const DEBUG = Buffer.from('\0\0\0\x06debug\0\0')
const PAUSED = Buffer.from('\0\0\0\x07paused\0')

/**
 * The same state of a guest that was not stopped by a debugger: QEMU cannot
 * load one that was (runstate_transitions_def, softmmu/runstate.c, has no way
 * from inmigrate to debug). Its name has a length before it, and 100 bytes
 * (vmstate_globalstate, migration/global_state.c).
 */
const paused = (stream: Buffer): Buffer => {
  const section = stream.indexOf(STATE_SECTION)
  const at = section + STATE_SECTION.length + STATE_HEADER
  if (section < 0 || !stream.subarray(at, at + DEBUG.length).equals(DEBUG))
    throw new InfraError(
      'SNAPSHOT',
      'expected QEMU to say that a debugger has stopped the guest it saved, it does not: is it newer than the rig?',
    )
  PAUSED.copy(stream, at)
  return stream
}

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
  const sent = pipeline(createReadStream(devices), connect(path))
  await Promise.race([Promise.all([over, sent]), qmp.closed])
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
const memoryFiles = async (
  pid: number,
  backends: readonly MemoryBackend[],
): Promise<MemoryFile[]> => {
  const folder = `/proc/${pid}/fd`
  const numbers = (await readdir(folder)).map(Number).sort((a, b) => a - b)
  const files: MemoryFile[] = []
  for (const number of numbers) {
    const path = `${folder}/${number}`
    const target = await readlink(path).catch(() => '')
    if (!target.startsWith('/memfd:memory-backend-memfd')) continue
    const { size, blocks } = await stat(path)
    files.push({ path, size, blocks })
  }
  const sizes = files.map(({ size }) => size)
  const expected = backends.map(({ size }) => size)
  if (sizes.join() !== expected.join())
    throw new InfraError(
      'SNAPSHOT',
      `expected QEMU to keep the memory of its guest in files of ${expected.join(', ')} bytes, found ${sizes.join(', ') || 'none'}`,
    )
  return files
}

interface MemoryFile {
  readonly path: string
  readonly size: number
  /** Of 512 bytes, that the guest has touched. */
  readonly blocks: number
}

const copySparsely = async (
  from: string,
  to: string,
  signal: AbortSignal,
): Promise<void> => {
  const { failed, stderr } = await execa(
    'setpriv',
    endsWithUs(['cp', '--sparse=always', '--', from, to]),
    {
      reject: false,
      stdin: 'ignore',
      stdout: 'ignore',
      cancelSignal: signal,
    },
  )
  if (failed)
    throw new InfraError(
      'SNAPSHOT',
      `cannot copy the memory of a guest to ${to}: ${stderr || 'cp said nothing'}`,
    )
}
