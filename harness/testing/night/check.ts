import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'kysely'
import { attemptsOf, keyText } from '../../night/attempts.ts'
import type { NightPlace } from '../../night/database.ts'
import type { CellClass } from '../../night/decide.ts'
import { eventsOf } from '../../night/events.ts'
import { cellsOf } from '../../night/nights.ts'
import type { NightDatabase } from '../../night/tables.ts'
import {
  type Fault,
  type NightCheck,
  type WeekOptions,
  natureOf,
} from './faults.ts'
import type { Crew } from './crew.ts'
import { hostFile, isDead } from './made-hosts.ts'

const TOLD: Readonly<Record<Fault, RegExp>> = {
  'worker killed': /worker w1 was (?:started again|not heard of)/,
  'machine lost': /worker w2 was not heard of/,
  'database away': /could not reach the database/,
  'disk full': /worker w0 takes no cases/,
  'clock jumps': /the clock of worker w3 jumped/,
  'host dies': /host h0 is given no further case/,
}

/** What a night has shown, against what was made to happen. */
export const checkNight = async (
  { db }: NightPlace,
  night: number,
  crew: Pick<Crew, 'size' | 'isUp' | 'hostsOf'>,
  { folder, seed, spread, faults }: WeekOptions,
): Promise<Omit<NightCheck, 'seconds'>> => {
  const cells = await cellsOf(db, night)
  const attempts = await attemptsOf(db, night)
  const stored = new Set(
    attempts
      .filter(({ state }) => state === 'done')
      .map(({ cell, number }) => keyText({ night, cell, number })),
  )
  const { rows: twice } = await sql<{ key: string }>`
    select cell || '-' || number as key from made_stores
    where night_id = ${night} group by cell, number having count(*) > 1`.execute(
    db,
  )
  const perCell = new Map<number, typeof attempts>()
  for (const attempt of attempts)
    perCell.set(attempt.cell, [...(perCell.get(attempt.cell) ?? []), attempt])
  const classes: Partial<Record<CellClass, number>> = {}
  const wrong: string[] = []
  const isLeft = (place: string): boolean => {
    const host = place.replace(/^host:/, '')
    return (
      !isDead(folder, host) &&
      Array.from({ length: crew.size }, (_, worker) => worker).some(
        worker => crew.isUp(worker) && crew.hostsOf(worker).includes(host),
      )
    )
  }
  for (const { cell, id, class: is, places } of cells) {
    const name = is ?? 'not run'
    classes[name] = (classes[name] ?? 0) + 1
    const problem = problemOf(is, perCell.get(cell) ?? [], {
      failureRate: natureOf(seed, id.split('@').slice(0, 2).join('@')),
      // Of some cells all suited hosts but one are gone by then.
      hasOthers:
        spread === 'any' &&
        (JSON.parse(places) as string[]).filter(isLeft).length > 1,
      spread,
    })
    if (problem !== undefined) wrong.push(`${id}: ${problem}`)
  }
  return {
    classes,
    boots: stored.size,
    lost: lostBoots(stored, { folder, night, crew }),
    twice: twice.map(({ key }) => key),
    wrong,
    away: hostsAway(folder, crew),
    untold: await untoldFaults(db, night, faults),
  }
}

/**
 * Boots that were judged, and whose result is nowhere. What a machine had in
 * its hands when it was lost for the rest of the night is lost with it, at most
 * one boot for each of its hosts: a made worker writes its ledger a moment
 * before the result is in a file that outlives it.
 */
const lostBoots = (
  stored: ReadonlySet<string>,
  {
    folder,
    night,
    crew,
  }: {
    readonly folder: string
    readonly night: number
    readonly crew: Pick<Crew, 'size' | 'isUp' | 'hostsOf'>
  },
): string[] =>
  Array.from({ length: crew.size }, (_, worker) => worker).flatMap(worker => {
    const missing = judgedBy(join(folder, `ledger-w${worker}`), night).filter(
      key => !stored.has(key),
    )
    const isInItsHands =
      !crew.isUp(worker) && missing.length <= crew.hostsOf(worker).length
    return isInItsHands ? [] : missing
  })

const judgedBy = (ledger: string, night: number): string[] => {
  if (!existsSync(ledger)) return []
  const keys = readFileSync(ledger, 'utf8')
    .split('\n')
    .filter(line => line.startsWith(`case-${night}-`))
    .map(line => line.split(' ')[0]!)
  return [...new Set(keys)]
}

/** Faults of which no event tells. */
export const untoldFaults = async (
  db: NightDatabase,
  night: number,
  faults: readonly Fault[],
): Promise<Fault[]> => {
  const events = await eventsOf(db, night)
  return faults.filter(
    fault => !events.some(({ text }) => TOLD[fault].test(text)),
  )
}

/**
 * Hosts in a test boot that somebody could have given back. One whose worker is
 * lost goes home by itself, which only a real one can show.
 */
const hostsAway = (
  folder: string,
  crew: Pick<Crew, 'size' | 'isUp' | 'hostsOf'>,
): string[] =>
  Array.from({ length: crew.size }, (_, worker) => worker)
    .filter(worker => crew.isUp(worker))
    .flatMap(worker => crew.hostsOf(worker))
    .filter(
      host =>
        !isDead(folder, host) &&
        readFileSync(hostFile(folder, host), 'utf8') !== 'home',
    )

/** What is not as it must be with a cell; undefined: nothing. */
const problemOf = (
  is: CellClass | null,
  attempts: Awaited<ReturnType<typeof attemptsOf>>,
  {
    failureRate,
    hasOthers,
    spread,
  }: {
    readonly failureRate: number
    readonly hasOthers: boolean
    readonly spread: 'any' | 'each'
  },
): string | undefined => {
  const failed = attempts.filter(({ verdict }) => verdict === 'fail')
  const passed = attempts.filter(({ verdict }) => verdict === 'pass')
  const errors = attempts.filter(({ verdict }) => verdict === 'error')
  switch (is) {
    case 'pass':
      return failed.length > 0 || passed.length === 0
        ? 'a pass with other boots'
        : undefined
    case 'fail':
      if (failureRate === 0) return 'its kernel never fails'
      if (passed.length > 0) return 'it has passed as well'
      if (failed.length < 2) return 'it was not repeated'
      return hasOthers && new Set(failed.map(({ machine }) => machine)).size < 2
        ? 'no other machine has seen it'
        : undefined
    case 'flaky':
      return passed.length === 0 || failed.length === 0
        ? 'all boots are the same'
        : undefined
    case 'error':
      return errors.length === 0 ? 'no boot had an error' : undefined
    case 'not run':
      return spread === 'each' ? undefined : 'somebody could have booted it'
    case 'invalid':
    case 'skip':
    case 'unconfirmed':
    case null:
      return `it is '${String(is)}'`
  }
}
