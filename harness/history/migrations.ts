import type { Kysely, Migration } from 'kysely'

/**
 * The tables, step by step; the same for every database. A step that was
 * published is never changed: another one follows.
 */
export const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '001-runs': {
    up: async (db: Kysely<unknown>) => {
      await db.schema
        .createTable('runs')
        .addColumn('id', 'integer', column =>
          column.primaryKey().generatedAlwaysAsIdentity(),
        )
        .addColumn('digest', 'text', column => column.notNull().unique())
        .addColumn('schema', 'text', column => column.notNull())
        .addColumn('started', 'timestamptz', column => column.notNull())
        .addColumn('label', 'text', column => column.notNull())
        .addColumn('machine', 'text', column => column.notNull())
        .addColumn('board', 'text', column => column.notNull())
        .addColumn('rig_version', 'text', column => column.notNull())
        .addColumn('duration_ms', 'double precision', column =>
          column.notNull(),
        )
        .addColumn('interrupted', 'boolean', column => column.notNull())
        .addColumn('kernels', 'text', column => column.notNull())
        .addColumn('pass', 'integer', column => column.notNull())
        .addColumn('fail', 'integer', column => column.notNull())
        .addColumn('invalid', 'integer', column => column.notNull())
        .addColumn('error', 'integer', column => column.notNull())
        .addColumn('skip', 'integer', column => column.notNull())
        .execute()
      await db.schema
        .createIndex('runs_by_label')
        .on('runs')
        .columns(['label', 'started'])
        .execute()
      await db.schema
        .createTable('cases')
        .addColumn('id', 'integer', column =>
          column.primaryKey().generatedAlwaysAsIdentity(),
        )
        .addColumn('name', 'text', column => column.notNull().unique())
        .execute()
      await db.schema
        .createTable('details')
        .addColumn('id', 'integer', column =>
          column.primaryKey().generatedAlwaysAsIdentity(),
        )
        .addColumn('digest', 'text', column => column.notNull().unique())
        .addColumn('body', 'bytea', column => column.notNull())
        .execute()
      await db.schema
        .createTable('results')
        .addColumn('run_id', 'integer', column =>
          column.notNull().references('runs.id').onDelete('cascade'),
        )
        .addColumn('case_id', 'integer', column =>
          column.notNull().references('cases.id'),
        )
        .addColumn('detail_id', 'integer', column =>
          column.notNull().references('details.id'),
        )
        .addColumn('verdict', 'text', column => column.notNull())
        .addColumn('total_ms', 'double precision', column => column.notNull())
        .addColumn('attempts', 'integer', column => column.notNull())
        .addColumn('passed', 'integer', column => column.notNull())
        .addColumn('tdmrs', 'integer', column => column.notNull())
        .addColumn('tdmrs_max', 'integer', column => column.notNull())
        .addColumn('areas', 'integer')
        .addColumn('areas_max', 'integer')
        .addColumn('pamt_kib', 'integer', column => column.notNull())
        .addColumn('volatile', 'text', column => column.notNull())
        .addPrimaryKeyConstraint('results_key', ['run_id', 'case_id'])
        .execute()
      await db.schema
        .createIndex('results_by_case')
        .on('results')
        .columns(['case_id', 'run_id'])
        .execute()
      // Pruning looks for details that nobody refers to.
      await db.schema
        .createIndex('results_by_detail')
        .on('results')
        .column('detail_id')
        .execute()
      await db.schema
        .createTable('baselines')
        .addColumn('name', 'text', column => column.primaryKey())
        .addColumn('run_id', 'integer', column =>
          column.notNull().references('runs.id').onDelete('cascade'),
        )
        .execute()
    },
  },
}
