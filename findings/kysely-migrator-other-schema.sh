#!/bin/sh
# Kysely's migrator on one PostgreSQL database with two schemas, each chosen by
# search_path, as two programs do that share a server.
#
# Guess: each schema gets tables of its own. Unqualified names go by search_path,
# so the migrator finds no table of migrations in the second schema and makes one.
#
# Seen (2026-11-29, kysely 0.28.18, @electric-sql/pglite 0.5.14 with PostgreSQL
# 18): the first schema is migrated, the second one fails. Whether its table is
# there is asked of the catalogue, in which tables of all schemas stand; what
# follows goes by search_path, where it is not. Its option migrationTableSchema
# has to be set for every schema.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >package.json <<'END'
{ "type": "module", "private": true }
END
npm install --silent --no-audit --no-fund kysely@0.28.18 @electric-sql/pglite@0.5.14
cat >try.mjs <<'END'
import { PGlite } from '@electric-sql/pglite'
import { CompiledQuery, Kysely, Migrator, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely'
const database = await PGlite.create()
const connection = {
  executeQuery: async ({ sql, parameters }) => ({ rows: (await database.query(sql, [...parameters])).rows }),
}
const say = text => connection.executeQuery(CompiledQuery.raw(text))
const driver = {
  init: async () => {},
  acquireConnection: async () => connection,
  releaseConnection: async () => {},
  beginTransaction: () => say('begin'),
  commitTransaction: () => say('commit'),
  rollbackTransaction: () => say('rollback'),
  destroy: async () => {},
}
const db = new Kysely({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => driver,
    createIntrospector: own => new PostgresIntrospector(own),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
})
const provider = {
  getMigrations: async () => ({ one: { up: own => own.schema.createTable('thing').addColumn('id', 'integer').execute() } }),
}
const seen = []
for (const schema of ['first', 'second']) {
  await say(`create schema ${schema}`)
  await say(`set search_path to ${schema}`)
  const { error } = await new Migrator({ db, provider }).migrateToLatest()
  seen.push(`${schema}: ${error === undefined ? 'migrated' : error.message}`)
  console.log(seen.at(-1))
}
process.exitCode =
  seen[0] === 'first: migrated' && /^second: relation "kysely_migration\w*" does not exist$/.test(seen[1]) ? 0 : 1
END
node try.mjs || { echo 'this is not what was seen'; exit 1; }
