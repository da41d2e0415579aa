import { constants } from 'node:fs'
import {
  access,
  mkdir,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { UsageError, messageOf, systemCode } from './errors.ts'

/**
 * Makes a folder and those above it. Not mkdir(recursive): that one never
 * returns below /proc (Node.js 20).
 */
export const ensureFolder = async (path: string): Promise<void> => {
  try {
    await mkdir(path)
  } catch (error) {
    const code = systemCode(error)
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return
    if (code !== 'ENOENT' || dirname(path) === path) throw error
    await ensureFolder(dirname(path))
    // Another may have been quicker.
    await mkdir(path).catch((error: unknown) => {
      if (systemCode(error) !== 'EEXIST') throw error
    })
  }
}

/**
 * Writes a file so that it is there as a whole or not at all. What is no
 * regular file, a pipe or a device, is written to and never replaced.
 *
 * @param write puts the content at the path it is given
 */
export const whole = async (
  path: string,
  write: (temporary: string) => Promise<void>,
): Promise<void> => {
  if (await isSpecial(path)) {
    await write(path)
    return
  }
  // What a link points to is written; the link stays.
  const target = await realpath(path).catch(() => path)
  const temporary = `${target}.${process.pid}.partial`
  try {
    await write(temporary)
    await rename(temporary, target)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

export const writeWhole = (
  path: string,
  content: string | Uint8Array,
): Promise<void> => whole(path, temporary => writeFile(temporary, content))

/** Where names of what is open lie, whatever they point to. */
const OPEN_FILES = /^\/(?:dev|proc)\//

/** A pipe, a device, or another name of a file that is open. */
export const isSpecial = async (path: string): Promise<boolean> => {
  if (OPEN_FILES.test(resolve(path))) return true
  try {
    const info = await stat(path)
    return !info.isFile() && !info.isDirectory()
  } catch {
    return false
  }
}

const unusable = (option: string, path: string, why: string): UsageError =>
  new UsageError('OUTPUT', `cannot write to ${option} '${path}': ${why}`)

/**
 * Makes sure that a file can be written later, before anything is booted.
 *
 * @throws UsageError when it cannot
 */
export const checkOutputFile = async (
  option: string,
  path: string,
): Promise<void> => {
  if (path === '' || path === '-')
    throw unusable(option, path, 'expected a file name (or /dev/stdout)')
  if (await isSpecial(path)) return
  const info = await stat(path).catch(() => undefined)
  if (info?.isDirectory()) throw unusable(option, path, 'it is a folder')
  const folder = dirname(resolve(path))
  try {
    await access(folder, constants.W_OK)
    if (!(await stat(folder)).isDirectory())
      throw new Error(`${folder} is no folder`)
  } catch (error) {
    throw unusable(option, path, messageOf(error))
  }
}

/** The same for a folder, which is made. @throws UsageError */
export const checkOutputFolder = async (
  option: string,
  path: string,
): Promise<void> => {
  if (path === '') throw unusable(option, path, 'expected the name of a folder')
  const info = await stat(path).catch(() => undefined)
  if (info && !info.isDirectory()) throw unusable(option, path, 'it is a file')
  try {
    await ensureFolder(path)
    await access(path, constants.W_OK)
  } catch (error) {
    throw unusable(option, path, messageOf(error))
  }
}

/** Of a folder and those above it the ones that are not there, deepest first. */
export const missingFolders = async (path: string): Promise<string[]> => {
  const there = await stat(path).catch(() => undefined)
  if (there || dirname(path) === path) return []
  return [path, ...(await missingFolders(dirname(path)))]
}

/** Takes folders away again that nothing was written to. */
export const removeIfEmpty = async (
  folders: readonly string[],
): Promise<void> => {
  for (const folder of folders) await rmdir(folder).catch(() => undefined)
}
