import type { Pool, PoolClient } from 'pg'
import { NEWS } from './attempts.ts'

/** Milliseconds between two looks, where no notice comes. */
export const LOOK = 1_000

/**
 * Notices that something is new in the database. One may be lost with its
 * connection: whoever waits looks now and then all the same.
 */
export class News implements AsyncDisposable {
  readonly #pool: Pool
  #client: PoolClient | undefined
  #count = 0
  #wake: (() => void) | undefined

  constructor(pool: Pool) {
    this.#pool = pool
  }

  /** How many there were. */
  get count(): number {
    return this.#count
  }

  /** Waits for one after the `seen`-th, or so many milliseconds. */
  async after(seen: number, ms: number, signal: AbortSignal): Promise<void> {
    await this.#listen()
    if (this.#count > seen) return
    await new Promise<void>(resolve => {
      const end = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        this.#wake = undefined
        resolve()
      }
      const timer = setTimeout(end, ms)
      this.#wake = end
      signal.addEventListener('abort', end)
    })
  }

  async #listen(): Promise<void> {
    if (this.#client) return
    let client: PoolClient | undefined
    try {
      client = await this.#pool.connect()
      const listener = client
      const gone = (): void => {
        if (this.#client !== listener) return
        this.#client = undefined
        listener.release(true)
      }
      client.on('error', gone)
      client.on('notification', ({ channel }) => {
        if (channel !== NEWS) return
        this.#count++
        this.#wake?.()
      })
      await client.query(`listen ${NEWS}`)
      this.#client = client
    } catch {
      client?.release(true)
      // The database is away: the next look tries again.
    }
  }

  /**
   * Looks whenever there may be something new, until what is waited for is
   * there or the time is over.
   *
   * @returns what was seen last
   */
  async until<T>({
    look,
    isDone,
    patienceMs,
    signal,
  }: {
    readonly look: () => Promise<T>
    readonly isDone: (seen: T) => boolean
    readonly patienceMs: number
    readonly signal: AbortSignal
  }): Promise<T> {
    const begin = performance.now()
    for (;;) {
      const count = this.#count
      const seen = await look()
      if (isDone(seen) || performance.now() - begin > patienceMs) return seen
      await this.after(count, LOOK, signal)
      signal.throwIfAborted()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#client?.release(true)
    this.#client = undefined
    return Promise.resolve()
  }
}
