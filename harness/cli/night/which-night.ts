import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { InfraError, UsageError } from '../../base/errors.ts'
import { tell } from '../../night/events.ts'
import { duration } from '../../night/morning-text.ts'
import {
  type Night,
  choosingNight,
  createNight,
  endNight,
  listNights,
  nightAt,
  takeNight,
} from '../../night/nights.ts'
import type { NightFile } from '../../night/plan-file.ts'
import type { NightStatus } from '../../night/status.ts'
import type { NightDatabase } from '../../night/tables.ts'
import { LOST_SECONDS } from '../../night/workers.ts'
import type { Log } from './log.ts'

/** Which night a process leads, and where its reports go. */

/** In the folder of a night: how it stands. */
export const STATUS_FILE = 'status.json'

/** Milliseconds after which a night is another one's turn. */
const TOO_OLD = 20 * 3_600_000

export interface Wanted {
  readonly file: NightFile
  /** Where its reports go, unless it was begun elsewhere. */
  readonly folder: string
  /** The folder was asked for. */
  readonly isGiven: boolean
  /** Others can lead nights in this database at the same time. */
  readonly isShared: boolean
  readonly dryRun: boolean
  readonly log: Log
}

export interface Chosen {
  readonly night: Night
  readonly folder: string
}

/**
 * The night that was not ended, or a new one; from now on it is led by whoever
 * has the token.
 *
 * @throws InfraError when another process leads it
 */
export const chooseNight = (
  db: NightDatabase,
  wanted: Wanted,
  token: string,
): Promise<Chosen> =>
  choosingNight(db, wanted.file.name, async trx => {
    const night = await chosen(trx, wanted)
    const folder = wanted.isGiven
      ? wanted.folder
      : (night.folder ?? wanted.folder)
    await checkOwner(folder, wanted.file.name)
    await takeNight(trx, night.id, { leader: token, folder })
    return { night, folder }
  })

const chosen = async (db: NightDatabase, wanted: Wanted): Promise<Night> => {
  const { file, dryRun, log } = wanted
  const [last] = await listNights(db, { name: file.name, limit: 1 })
  if (last?.state !== 'running') return newNight(db, wanted)
  checkSilence(last, wanted)
  if (dryRun)
    throw new UsageError(
      'NIGHT',
      `night ${last.id} of '${file.name}' is not ended: --dry-run is for a new one; 'night run' goes on with it, 'night stop ${last.id}' ends it`,
    )
  if (last.elapsedMs > TOO_OLD) {
    log('leader', `night ${last.id} was not ended, and is left: it is too old`)
    await endNight(db, last.id, 'stopped')
    return newNight(db, wanted)
  }
  const since =
    last.silent === undefined
      ? ''
      : `, ${duration(last.silent * 1000)} after who led it was heard of last`
  await said(db, last.id, { log, text: `night ${last.id} goes on${since}` })
  if (
    last.source !== undefined &&
    !isDeepStrictEqual(JSON.parse(last.source), JSON.parse(sourceOf(file)))
  )
    await said(db, last.id, {
      log,
      text: `${file.path} was changed since night ${last.id} began, which goes on as it was planned; 'night stop ${last.id}' ends it, so that a new one can begin`,
    })
  return last
}

const said = async (
  db: NightDatabase,
  night: number,
  { log, text }: { readonly log: Log; readonly text: string },
): Promise<void> => {
  log('leader', text)
  await tell(db, night, 'leader', text)
}

/** Where the database is a folder, whoever has it is alone. */
const checkSilence = (
  { id, name, silent }: Night,
  { isShared }: Wanted,
): void => {
  if (!isShared || silent === undefined || silent >= LOST_SECONDS) return
  throw new InfraError(
    'NIGHT_LED',
    `night ${id} of '${name}' is under way, and who leads it was heard of ${Math.round(silent)} s ago: wait for it, or end that process`,
  )
}

const newNight = async (
  db: NightDatabase,
  { file, folder }: Wanted,
): Promise<Night> => {
  const { name, label } = file
  const source = sourceOf(file)
  return nightAt(db, await createNight(db, { name, label, source, folder }))
}

/** What was written, with its defaults. */
const sourceOf = ({ yaml, ...written }: NightFile): string =>
  JSON.stringify({ ...written, path: yaml.path })

/** @throws UsageError for the reports of another night */
const checkOwner = async (folder: string, name: string): Promise<void> => {
  const text = await readFile(join(folder, STATUS_FILE), 'utf8').catch(
    () => '{}',
  )
  let owner: string | undefined
  try {
    owner = (JSON.parse(text) as Partial<NightStatus>).name
  } catch {
    // Whatever it is, it is overwritten.
  }
  if (owner !== undefined && owner !== name)
    throw new UsageError(
      'NIGHT_FOLDER',
      `${folder} holds the reports of the night '${owner}': expected another folder for '${name}'`,
    )
}
