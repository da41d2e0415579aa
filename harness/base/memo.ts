import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import {
  mkdir,
  readFile,
  realpath,
  rename,
  stat,
  writeFile,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { cacheRoot } from './paths.ts'

/**
 * Remembers what was computed from a file, as long as the file is the same by
 * inode, size and time stamps. Losing this file costs time, nothing else.
 */
const memoPath = (): string => join(cacheRoot(), 'memo.json')

const load = async (): Promise<Record<string, string>> => {
  try {
    const data: unknown = JSON.parse(await readFile(memoPath(), 'utf8'))
    return typeof data === 'object' && data !== null
      ? Object.fromEntries(
          Object.entries(data).filter(
            (entry): entry is [string, string] => typeof entry[1] === 'string',
          ),
        )
      : {}
  } catch {
    return {}
  }
}

/** @param what names the computation, to keep several per file apart */
export const memoized = async (
  path: string,
  what: string,
  compute: (path: string) => Promise<string>,
): Promise<string> => {
  const real = await realpath(path)
  const { ino, size, mtimeMs, ctimeMs } = await stat(real)
  const key = [what, real, ino, size, mtimeMs, ctimeMs].join('|')
  const known = (await load())[key]
  if (known !== undefined) return known
  const value = await compute(real)
  const memo = { ...(await load()), [key]: value }
  await mkdir(dirname(memoPath()), { recursive: true })
  const temporary = `${memoPath()}.${process.pid}`
  await writeFile(temporary, JSON.stringify(memo, null, 1))
  await rename(temporary, memoPath())
  return value
}

/** SHA-256 of a file's bytes, in hex. */
export const sha256OfFile = async (path: string): Promise<string> => {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
