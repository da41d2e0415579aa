import { type Kysely, type Migration, sql } from 'kysely'

/**
 * The tables of nights, step by step. A step that was published is never
 * changed: another one follows.
 */
export const NIGHT_MIGRATIONS: Readonly<Record<string, Migration>> = {
  '001-nights': {
    up: async (db: Kysely<unknown>) => {
      await db.schema
        .createTable('nights')
        .addColumn('id', 'integer', column =>
          column.primaryKey().generatedAlwaysAsIdentity(),
        )
        .addColumn('name', 'text', column => column.notNull())
        .addColumn('label', 'text', column => column.notNull())
        .addColumn('plan', 'text', column => column.notNull())
        .addColumn('started', 'timestamptz', column =>
          column.notNull().defaultTo(sql`now()`),
        )
        .addColumn('ended', 'timestamptz')
        .addColumn('state', 'text', column => column.notNull())
        .addColumn('leader', 'text')
        .addColumn('seen', 'timestamptz', column =>
          column.notNull().defaultTo(sql`now()`),
        )
        .execute()
      await db.schema
        .createTable('night_kernels')
        .addColumn('night_id', 'integer', ofNight)
        .addColumn('name', 'text', column => column.notNull())
        .addColumn('recipe', 'text', column => column.notNull())
        .addColumn('origin', 'text')
        .addColumn('state', 'text', column => column.notNull())
        .addColumn('faults', 'integer', column => column.notNull().defaultTo(0))
        .addColumn('key', 'text')
        .addColumn('release', 'text')
        .addColumn('message', 'text')
        .addPrimaryKeyConstraint('night_kernels_key', ['night_id', 'name'])
        .execute()
      await db.schema
        .createTable('night_cells')
        .addColumn('night_id', 'integer', ofNight)
        .addColumn('cell', 'integer', column => column.notNull())
        .addColumn('id', 'text', column => column.notNull())
        .addColumn('kernel', 'text', column => column.notNull())
        .addColumn('target', 'text', column => column.notNull())
        .addColumn('scenario', 'text', column => column.notNull())
        .addColumn('input', 'text', column => column.notNull())
        .addColumn('places', 'text', column => column.notNull())
        .addColumn('estimate_ms', 'double precision', column =>
          column.notNull(),
        )
        .addColumn('repeat', 'integer', column => column.notNull())
        .addColumn('class', 'text')
        .addColumn('note', 'text')
        .addPrimaryKeyConstraint('night_cells_key', ['night_id', 'cell'])
        .execute()
      await db.schema
        .createTable('night_attempts')
        .addColumn('night_id', 'integer', ofNight)
        .addColumn('cell', 'integer', column => column.notNull())
        .addColumn('number', 'integer', column => column.notNull())
        .addColumn('reason', 'text', column => column.notNull())
        .addColumn('place', 'text', column => column.notNull())
        .addColumn('only_machine', 'text')
        .addColumn('not_machine', 'text')
        .addColumn('state', 'text', column => column.notNull())
        .addColumn('lost', 'integer', column => column.notNull().defaultTo(0))
        .addColumn('worker', 'text')
        .addColumn('started', 'timestamptz')
        .addColumn('ended', 'timestamptz')
        .addColumn('verdict', 'text')
        .addColumn('machine', 'text')
        .addColumn('total_ms', 'double precision')
        .addColumn('message', 'text')
        .addColumn('body', 'bytea')
        .addColumn('console', 'bytea')
        .addPrimaryKeyConstraint('night_attempts_key', [
          'night_id',
          'cell',
          'number',
        ])
        .execute()
      // What is under way is looked for all the time, and is little.
      await sql`create index night_attempts_open on night_attempts (night_id, worker)
        where state <> 'done'`.execute(db)
      await db.schema
        .createTable('night_workers')
        .addColumn('name', 'text', column => column.primaryKey())
        .addColumn('state', 'text', column => column.notNull())
        .addColumn('started', 'timestamptz', column =>
          column.notNull().defaultTo(sql`now()`),
        )
        .addColumn('seen', 'timestamptz', column =>
          column.notNull().defaultTo(sql`now()`),
        )
        .addColumn('pools', 'text', column => column.notNull())
        .addColumn('offer', 'text', column => column.notNull())
        .addColumn('unfit', 'text')
        .addColumn('process', 'text', column => column.notNull())
        .execute()
      await db.schema
        .createTable('night_hosts')
        .addColumn('night_id', 'integer', ofNight)
        .addColumn('host', 'text', column => column.notNull())
        .addColumn('found', 'text')
        .addColumn('message', 'text')
        .addColumn('errors', 'integer', column => column.notNull().defaultTo(0))
        .addColumn('aside', 'text')
        .addColumn('home', 'text')
        .addPrimaryKeyConstraint('night_hosts_key', ['night_id', 'host'])
        .execute()
      await db.schema
        .createTable('night_events')
        .addColumn('id', 'integer', column =>
          column.primaryKey().generatedAlwaysAsIdentity(),
        )
        .addColumn('night_id', 'integer', column =>
          column.references('nights.id').onDelete('cascade'),
        )
        .addColumn('at', 'timestamptz', column =>
          column.notNull().defaultTo(sql`now()`),
        )
        .addColumn('kind', 'text', column => column.notNull())
        .addColumn('text', 'text', column => column.notNull())
        .execute()
      await db.schema
        .createTable('night_artefacts')
        .addColumn('key', 'text', column => column.primaryKey())
        .addColumn('name', 'text', column => column.notNull())
        .addColumn('sha256', 'text', column => column.notNull())
        .addColumn('bytes', 'double precision', column => column.notNull())
        .addColumn('parts', 'integer', column => column.notNull())
        .addColumn('used', 'timestamptz', column =>
          column.notNull().defaultTo(sql`now()`),
        )
        .execute()
      await db.schema
        .createTable('night_artefact_parts')
        .addColumn('key', 'text', column =>
          column
            .notNull()
            .references('night_artefacts.key')
            .onDelete('cascade'),
        )
        .addColumn('part', 'integer', column => column.notNull())
        .addColumn('body', 'bytea', column => column.notNull())
        .addPrimaryKeyConstraint('night_artefact_parts_key', ['key', 'part'])
        .execute()
    },
  },
  '002-turns': {
    up: async (db: Kysely<unknown>) => {
      // Older nights may be thrown away: their number is no count of them.
      await db.schema
        .alterTable('nights')
        .addColumn('turn', 'integer', column => column.notNull().defaultTo(0))
        .addColumn('source', 'text')
        .addColumn('folder', 'text')
        .execute()
      await sql`update nights n set turn = (
          select count(*) from nights b where b.name = n.name and b.id < n.id
        )`.execute(db)
    },
  },
}

const ofNight: Parameters<
  ReturnType<Kysely<unknown>['schema']['createTable']>['addColumn']
>[2] = column => column.notNull().references('nights.id').onDelete('cascade')
