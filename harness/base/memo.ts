import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, realpath, rename, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { ensureFolder } from './output.ts'
import { cacheRoot, isRegularFile } from './paths.ts'

/**
 * Remembers what was computed from a file, as long as the file is the same by
 * inode, size and time stamps. One small file an entry, written as a whole, so
 * that any number of writers may come at once; losing them costs time, nothing
 * else.
 *
 * @param what names the computation, to keep several per file apart
 */
export const memoized = async (
  path: string,
  what: string,
  compute: (path: string) => Promise<string>,
): Promise<string> => {
  const real = await realpath(path)
  const { ino, size, mtimeMs, ctimeMs } = await stat(real)
  const key = JSON.stringify([what, real, ino, size, mtimeMs, ctimeMs])
  const name = createHash('sha256').update(key).digest('hex').slice(0, 32)
  const entry = join(cacheRoot(), 'memo', name)
  const known = await remembered(entry, key)
  if (known !== undefined) return known
  const value = await compute(real)
  await ensureFolder(dirname(entry))
  const temporary = `${entry}.${randomUUID()}`
  await writeFile(temporary, `${key}\n${value}`)
  await rename(temporary, entry)
  return value
}

/** The value of an entry; undefined when it is missing or not of this key. */
const remembered = async (
  entry: string,
  key: string,
): Promise<string | undefined> => {
  const text = await readFile(entry, 'utf8').catch(() => '')
  return text.startsWith(`${key}\n`) ? text.slice(key.length + 1) : undefined
}

/** SHA-256 of a file's bytes, in hex. */
export const sha256OfFile = async (path: string): Promise<string> => {
  if (!(await isRegularFile(path)))
    throw new Error(`expected a file, found something else: ${path}`)
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
