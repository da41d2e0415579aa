import type { PGlite } from '@electric-sql/pglite'
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
} from 'kysely'

/**
 * Kysely on a PGlite: PostgreSQL in this process, with one connection. Kysely
 * asks for it in turn, and waits while somebody has it.
 */
export const pgliteDialect = (database: PGlite): Dialect => ({
  createAdapter: () => new PostgresAdapter(),
  createDriver: () => new PgliteDriver(database),
  createIntrospector: db => new PostgresIntrospector(db),
  createQueryCompiler: () => new PostgresQueryCompiler(),
})

class PgliteDriver implements Driver {
  readonly #database: PGlite
  #free: Promise<void> = Promise.resolve()
  #release: () => void = () => undefined

  constructor(database: PGlite) {
    this.#database = database
  }

  init(): Promise<void> {
    return this.#database.waitReady
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    const before = this.#free
    let release = (): void => undefined
    this.#free = new Promise(resolve => {
      release = resolve
    })
    await before
    this.#release = release
    return new PgliteConnection(this.#database)
  }

  releaseConnection(): Promise<void> {
    this.#release()
    return Promise.resolve()
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin'))
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'))
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('rollback'))
  }

  destroy(): Promise<void> {
    return this.#database.close()
  }
}

class PgliteConnection implements DatabaseConnection {
  readonly #database: PGlite

  constructor(database: PGlite) {
    this.#database = database
  }

  async executeQuery<R>({
    sql,
    parameters,
  }: CompiledQuery): Promise<QueryResult<R>> {
    const { rows, affectedRows } = await this.#database.query<R>(sql, [
      ...parameters,
    ])
    return {
      rows,
      ...(affectedRows !== undefined && {
        numAffectedRows: BigInt(affectedRows),
      }),
    }
  }

  streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new TypeError('PGlite answers a query as a whole')
  }
}
