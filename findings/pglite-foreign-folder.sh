#!/bin/sh
# PGlite opens a data folder that holds somebody else's files.
#
# Guess: it refuses, as initdb does ("directory exists but is not empty"), since
# it is PostgreSQL's own initdb that makes the cluster.
#
# Seen (2026-11-29, @electric-sql/pglite 0.5.14): it makes its cluster among the
# files without a word, and a later open takes the folder for its own. A wrong
# path, say the home folder, ends up with about a thousand files of PostgreSQL in it.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >package.json <<'END'
{ "type": "module", "private": true }
END
npm install --silent --no-audit --no-fund @electric-sql/pglite@0.5.14
mkdir folder
echo 'a letter' >folder/letter.txt
cat >try.mjs <<'END'
import { existsSync, readdirSync } from 'node:fs'
import { PGlite } from '@electric-sql/pglite'
const before = readdirSync('folder', { recursive: true }).length
try {
  const database = await PGlite.create('folder')
  await database.query('create table thing (id integer)')
  await database.close()
} catch (error) {
  console.log(`refused: ${error.message}`)
  process.exit(1)
}
const after = readdirSync('folder', { recursive: true }).length
console.log(`entries before: ${before}, after: ${after}, PG_VERSION: ${existsSync('folder/PG_VERSION')}`)
process.exit(before === 1 && after > 500 && existsSync('folder/PG_VERSION') ? 0 : 1)
END
node try.mjs || { echo 'this is not what was seen'; exit 1; }
[ "$(cat folder/letter.txt)" = 'a letter' ]
