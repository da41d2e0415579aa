import { constants, existsSync } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, dirname, isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * The checkout or the installed package: what holds `scenarios/`. Looked for
 * upwards, since a bundle lies elsewhere than its sources.
 */
export const projectRoot = (): string => {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory)
    if (parent === directory)
      throw new TypeError('tdxrig runs outside of its package')
    directory = parent
  }
  return directory
}

/** `$XDG_CACHE_HOME/tdxrig`; relative values are ignored, as the XDG says. */
export const cacheRoot = (env: NodeJS.ProcessEnv = process.env): string => {
  const base = env['XDG_CACHE_HOME'] ?? ''
  return join(isAbsolute(base) ? base : join(homedir(), '.cache'), 'tdxrig')
}

/** Where `PATH` has an executable program; undefined when nowhere. */
export const findProgram = async (
  program: string,
): Promise<string | undefined> => {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(directory || '.', program)
    try {
      await access(path, constants.X_OK)
      return path
    } catch {
      continue
    }
  }
  return undefined
}

export const isThere = async (path: string): Promise<boolean> => {
  try {
    await access(path)
    return true
  } catch {
    return false
  }
}

/** A file that can be read to its end: no folder, pipe or device. */
export const isRegularFile = async (path: string): Promise<boolean> => {
  const info = await stat(path).catch(() => undefined)
  return info?.isFile() === true
}
