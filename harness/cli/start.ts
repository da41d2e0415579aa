#!/usr/bin/env node
import { createHash, randomUUID } from 'node:crypto'
import {
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Script } from 'node:vm'
import { cacheRoot } from '../base/paths.ts'

/**
 * Starts the bundle of the command line, main.ts, with what V8 made of it the
 * last time: translating it takes as long as all the rest of a short command.
 * Node.js 20 has no compile cache of its own (module.enableCompileCache()).
 */

/** Beside this program (scripts/bundle). */
const BUNDLE = 'tdxrig.cjs'

/** A code cache for each command, of a few bundles and Node.js versions. */
const MOST_CACHES = 60

/** Before the code: the sum of it, because V8 does not look. */
const SUM_LENGTH = 32

const sumOf = (bytes: Uint8Array): Buffer =>
  createHash('sha256').update(bytes).digest()

/** Nobody else can have put it there: it is run as this user. */
const isOurs = (path: string): boolean => {
  const { uid, mode } = statSync(path)
  return uid === process.geteuid?.() && (mode & 0o022) === 0
}

/** Undefined: there is none, or it is broken or somebody else's. */
const cachedCode = (path: string): Buffer | undefined => {
  try {
    if (!isOurs(path) || !isOurs(dirname(path))) return undefined
    const file = readFileSync(path)
    const code = file.subarray(SUM_LENGTH)
    return sumOf(code).equals(file.subarray(0, SUM_LENGTH)) ? code : undefined
  } catch {
    return undefined
  }
}

/** Each is as old as its last writing; the oldest go. */
const prune = (folder: string): void => {
  const files = readdirSync(folder).map(name => {
    const path = join(folder, name)
    return { path, time: statSync(path).mtimeMs }
  })
  files.sort((a, b) => b.time - a.time)
  for (const { path } of files.slice(MOST_CACHES)) rmSync(path, { force: true })
}

/** Losing it costs time, nothing else. */
const keep = (path: string, script: Script): void => {
  try {
    const code = script.createCachedData()
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    const temporary = `${path}.${randomUUID()}`
    const options = { mode: 0o600 }
    writeFileSync(temporary, Buffer.concat([sumOf(code), code]), options)
    renameSync(temporary, path)
    prune(dirname(path))
  } catch {
    // No room, or nowhere to write to.
  }
}

const COMMAND = /^[a-z][a-z-]*$/

/** A command that did what it is for: help uses hardly any of its code. */
const hasRun = (): boolean =>
  Number(process.exitCode ?? 0) < 2 &&
  !process.argv.some(word => word === '--help' || word === '-h')

/** The bundle as it is, this Node.js, and the command: each uses other code. */
const cachePath = (bundle: string): string => {
  const { ino, size, mtimeMs, ctimeMs } = statSync(bundle)
  const [, , word = ''] = process.argv
  const command = COMMAND.test(word) ? word : ''
  const key = [bundle, ino, size, mtimeMs, ctimeMs, process.version, command]
  const name = createHash('sha256').update(JSON.stringify(key)).digest('hex')
  return join(cacheRoot(), 'code', name.slice(0, 32))
}

const OPENING = '(function (require, __filename, __import) {'

const file = join(dirname(fileURLToPath(import.meta.url)), BUNDLE)
const path = cachePath(file)
const cachedData = cachedCode(path)
const script = new Script(
  // It is of ASCII (scripts/bundle), which is read much faster as what it is.
  `${OPENING}${readFileSync(file, 'latin1')}\n})`,
  {
    filename: file,
    // On the first line stands our own text, too.
    columnOffset: -OPENING.length,
    ...(cachedData && { cachedData }),
  },
)
if (!cachedData || script.cachedDataRejected === true)
  process.once('exit', () => {
    if (hasRun()) keep(path, script)
  })
const start = script.runInThisContext() as (
  require: NodeJS.Require,
  file: string,
  load: (name: string) => Promise<unknown>,
) => void
start(createRequire(file), file, name => import(name))
