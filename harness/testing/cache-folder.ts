import { join } from 'node:path'
import type { Test } from 'tap'

/** Gives a test a cache of its own, in a folder; it is the user's again after. */
export const useCacheIn = (t: Test, folder: string): void => {
  const before = process.env['XDG_CACHE_HOME']
  process.env['XDG_CACHE_HOME'] = join(folder, 'cache')
  t.teardown(() => {
    if (before === undefined) delete process.env['XDG_CACHE_HOME']
    else process.env['XDG_CACHE_HOME'] = before
  })
}
