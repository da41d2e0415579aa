import { EventEmitter } from 'node:events'
import type { PGlite, Results } from '@electric-sql/pglite'
import type { Pool } from 'pg'

/**
 * PGlite as a pool of node-postgres: PostgreSQL in this process, with one
 * session. Clients share it: each query is one turn, and a client that has
 * begun a transaction keeps its turn until the end of it.
 */
export const pglitePool = (database: PGlite): Pool =>
  new PglitePool(database) as unknown as Pool

type Query = string | { readonly text: string; readonly values?: unknown[] }

/** What node-postgres says of a query. */
interface Answer {
  readonly command: string
  readonly rowCount: number
  readonly rows: unknown[]
}

type Connected = (
  error: undefined,
  client: PgliteClient,
  release: () => void,
) => void

class PglitePool extends EventEmitter {
  readonly #session: Session

  constructor(database: PGlite) {
    super()
    this.#session = new Session(database)
  }

  connect(): Promise<PgliteClient>
  connect(callback: Connected): void
  connect(callback?: Connected): Promise<PgliteClient> | undefined {
    const client = new PgliteClient(this.#session)
    this.emit('connect', client)
    if (!callback) return Promise.resolve(client)
    queueMicrotask(() => {
      callback(undefined, client, () => void client.release())
    })
    return undefined
  }

  async query(query: Query, values?: unknown[]): Promise<Answer> {
    const client = await this.connect()
    try {
      return await client.query(query, values)
    } finally {
      await client.release()
    }
  }

  end(): Promise<void> {
    return this.#session.database.close()
  }
}

class PgliteClient extends EventEmitter {
  readonly #session: Session
  readonly #deafen: () => void

  constructor(session: Session) {
    super()
    this.#session = session
    this.#deafen = session.database.onNotification((channel, payload) => {
      this.emit('notification', { channel, payload })
    })
  }

  async query(query: Query, given?: unknown[]): Promise<Answer> {
    const { text, values = given ?? [] } =
      typeof query === 'string' ? { text: query } : query
    await this.#session.take(this)
    try {
      return answer(text, await run(this.#session.database, text, values))
    } finally {
      this.#session.passOn(this, text)
    }
  }

  async release(): Promise<void> {
    this.#deafen()
    // Whoever goes in the middle of a transaction takes it back.
    if (this.#session.isHeldBy(this)) await this.query('rollback')
  }
}

/** Several statements are sent without values, as in node-postgres. */
const run = async (
  database: PGlite,
  text: string,
  values: unknown[],
): Promise<Results | undefined> =>
  values.length > 0
    ? database.query(text, values)
    : (await database.exec(text)).at(-1)

const answer = (text: string, results: Results | undefined): Answer => {
  const rows = results?.rows ?? []
  const affected = results?.affectedRows ?? 0
  return {
    command: /^\s*(\w+)/.exec(text)?.[1]?.toUpperCase() ?? '',
    rowCount: affected > 0 ? affected : rows.length,
    rows,
  }
}

const BEGINS = /^\s*(?:begin|start\s+transaction)\b/i
const ENDS = /^\s*(?:commit|end|rollback(?!\s+to)|abort)\b/i

/** The one session of a PGlite, which its clients use in turn. */
class Session {
  readonly database: PGlite
  #free: Promise<void> = Promise.resolve()
  #release: () => void = () => undefined
  #holder: PgliteClient | undefined
  /** The holder has begun a transaction. */
  #isOpen = false

  constructor(database: PGlite) {
    this.database = database
  }

  isHeldBy(client: PgliteClient): boolean {
    return this.#holder === client
  }

  async take(client: PgliteClient): Promise<void> {
    if (this.isHeldBy(client)) return
    const before = this.#free
    let release = (): void => undefined
    this.#free = new Promise(resolve => {
      release = resolve
    })
    await before
    this.#holder = client
    this.#release = release
  }

  /** Gives others their turn, unless a transaction goes on. */
  passOn(client: PgliteClient, text: string): void {
    if (BEGINS.test(text)) this.#isOpen = true
    if (ENDS.test(text)) this.#isOpen = false
    if (this.#isOpen || !this.isHeldBy(client)) return
    this.#holder = undefined
    this.#release()
  }
}
