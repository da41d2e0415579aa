import { homedir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The checkout or the installed package: what holds `scenarios/`. */
export const projectRoot = (): string =>
  join(dirname(fileURLToPath(import.meta.url)), '..', '..')

/** `$XDG_CACHE_HOME/tdxrig`; relative values are ignored, as the XDG says. */
export const cacheRoot = (env: NodeJS.ProcessEnv = process.env): string => {
  const base = env['XDG_CACHE_HOME'] ?? ''
  return join(isAbsolute(base) ? base : join(homedir(), '.cache'), 'tdxrig')
}
