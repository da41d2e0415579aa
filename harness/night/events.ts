import { sql } from 'kysely'
import type { NightDatabase } from './tables.ts'

/** What happened in a night that is no result: the morning tells it. */

export type EventKind =
  | 'worker'
  | 'host'
  | 'kernel'
  | 'database'
  | 'clock'
  | 'disk'
  | 'budget'
  | 'leader'

export const tell = async (
  db: NightDatabase,
  night: number | null,
  kind: EventKind,
  text: string,
): Promise<void> => {
  await db
    .insertInto('night_events')
    .values({ night_id: night, kind, text })
    .execute()
}

export interface NightEvent {
  readonly at: string
  readonly kind: string
  readonly text: string
}

/** Of a night, and of workers while it ran; oldest first. */
export const eventsOf = async (
  db: NightDatabase,
  night: number,
): Promise<NightEvent[]> => {
  const { rows } = await sql<{ at: Date; kind: string; text: string }>`
    select e.at, e.kind, e.text from night_events e
    join nights n on n.id = ${night}
    where e.night_id = n.id or (e.night_id is null and e.at >= n.started
      and e.at <= coalesce(n.ended, clock_timestamp()))
    order by e.at, e.id`.execute(db)
  return rows.map(({ at, kind, text }) => ({
    at: at.toISOString(),
    kind,
    text,
  }))
}
