import { messageOf } from '../base/errors.ts'
import { tell } from './events.ts'
import { isOutage } from './outage.ts'
import type { NightDatabase } from './tables.ts'
import { LOST_SECONDS, sweepWorkers } from './workers.ts'

/** Milliseconds by which a clock may differ before it has jumped. */
const JUMP = 3_000

/** Times the usual pause, after which a sign of life is late. */
const LATE = 2

/** What a sign of life has shown. */
interface Sign {
  /** The clock of the database, in milliseconds. */
  readonly clock: number
}

/** Clocks as they were at one moment, in milliseconds. */
interface Moment {
  readonly monotonic: number
  readonly database: number
  readonly local: number
}

export interface PulseOptions {
  readonly db: NightDatabase
  /** Whose it is. */
  readonly name: string
  readonly beat: () => Promise<Sign>
  readonly seconds: number
  readonly onLog: (kind: 'database' | 'clock', text: string) => void
}

/**
 * Gives signs of life, and watches for others who give none. It also sees when
 * the database was away and when a clock has jumped: then nobody is given up,
 * since it was not they who were silent.
 */
export class Pulse {
  readonly #options: PulseOptions
  #timer: NodeJS.Timeout | undefined
  #beating: Promise<void> | undefined
  #last: Moment | undefined
  /** Since when nothing unusual was seen; monotonic. */
  #steadySince = performance.now()
  #awaySince: number | undefined

  constructor(options: PulseOptions) {
    this.#options = options
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#beating ??= this.#beat().finally(() => (this.#beating = undefined))
    }, this.#options.seconds * 1000)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#beating
  }

  async #beat(): Promise<void> {
    const { db, name, beat, onLog } = this.#options
    try {
      const { clock } = await beat()
      await this.#returned()
      await this.#compare({
        monotonic: performance.now(),
        database: clock,
        local: Date.now(),
      })
      // Others had as much time to be heard of as we have watched.
      if (performance.now() - this.#steadySince > LOST_SECONDS * 1000)
        await sweepWorkers(db)
    } catch (error) {
      this.#steadySince = performance.now()
      if (this.#awaySince === undefined) {
        this.#awaySince = performance.now()
        const what = isOutage(error)
          ? 'cannot reach it'
          : 'gives no sign of life'
        onLog('database', `${name} ${what}: ${messageOf(error)}`)
      }
    }
  }

  async #returned(): Promise<void> {
    if (this.#awaySince === undefined) return
    const seconds = Math.round((performance.now() - this.#awaySince) / 1000)
    this.#awaySince = undefined
    this.#steadySince = performance.now()
    await this.#say(
      'database',
      `${this.#options.name} could not reach the database for ${seconds} s`,
    )
  }

  async #compare(now: Moment): Promise<void> {
    const last = this.#last
    this.#last = now
    if (!last) return
    const passed = now.monotonic - last.monotonic
    // It was us who were slow, or the way to the database.
    if (passed > LATE * this.#options.seconds * 1000)
      this.#steadySince = now.monotonic
    const jump = (clock: 'database' | 'local'): number =>
      Math.round((now[clock] - last[clock] - passed) / 1000)
    const { name } = this.#options
    const [database, local] = [jump('database'), jump('local')]
    if (Math.abs(database) * 1000 > JUMP) {
      this.#steadySince = now.monotonic
      await this.#say(
        'clock',
        `the clock of the database jumped by ${signed(database)} s`,
      )
    }
    if (Math.abs(local) * 1000 > JUMP)
      await this.#say(
        'clock',
        `the clock of ${name} jumped by ${signed(local)} s: nothing here depends on it`,
      )
  }

  async #say(kind: 'database' | 'clock', text: string): Promise<void> {
    this.#options.onLog(kind, text)
    await tell(this.#options.db, null, kind, text)
  }
}

const signed = (seconds: number): string =>
  seconds > 0 ? `+${seconds}` : String(seconds)
