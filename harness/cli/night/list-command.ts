import { visible } from '../../base/text.ts'
import { withNights } from '../../night/database.ts'
import { pruneKernels } from '../../night/kernel-copies.ts'
import { duration } from '../../night/morning-text.ts'
import { listNights, pruneNights } from '../../night/nights.ts'
import { checkPruneRule } from '../options.ts'
import { type PlaceFlags, nightsPlace, onWait } from './place.ts'

/** `tdxrig night list`: the nights of a database, the newest first. */
export const nightListCommand = async ({
  limit,
  json = false,
  ...flags
}: PlaceFlags & {
  readonly limit: number
  readonly json?: boolean
}): Promise<number> => {
  const nights = await withNights(
    nightsPlace(flags),
    { onWait, connections: 2 },
    ({ db }) => listNights(db, { limit }),
  )
  const lines = nights.map(
    ({ id, name, state, started, elapsedMs }) =>
      `${String(id).padStart(5)}  ${started.slice(0, 16).replace('T', ' ')}  ${state.padEnd(7)}  ${visible(name)}, ${duration(elapsedMs)}\n`,
  )
  process.stdout.write(
    json
      ? `${JSON.stringify(
          {
            schema: 'tdxrig.nights/1',
            nights: nights.map(({ plan, ...night }) => ({
              ...night,
              file: plan?.file ?? null,
            })),
          },
          null,
          2,
        )}\n`
      : lines.length === 0
        ? 'the database has no nights\n'
        : lines.join(''),
  )
  return 0
}

/** Seconds of a day. */
const DAY = 86_400

/** `tdxrig night prune`: nights and kernels that nobody needs any more. */
export const nightPruneCommand = async ({
  keep,
  older,
  ...flags
}: PlaceFlags & {
  readonly keep?: number
  readonly older?: number
}): Promise<number> => {
  checkPruneRule({ keep, older })
  const days = older === undefined ? null : Math.ceil(older / DAY)
  await withNights(
    nightsPlace(flags),
    { onWait, connections: 2 },
    async ({ db }) => {
      const nights = await pruneNights(db, { keep: keep ?? null, days })
      const kernels = days === null ? 0 : await pruneKernels(db, days)
      process.stdout.write(
        `${nights} nights and ${kernels} copies of kernels were thrown away\n`,
      )
    },
  )
  return 0
}
