import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from './errors.ts'
import { ensureFolder, writeWhole } from './output.ts'
import { cacheRoot } from './paths.ts'

/** Something found out about this host, which holds until it boots again. */
export interface UntilReboot {
  /** What was kept in this boot of the host; undefined: nothing. */
  readonly recall: () => Promise<unknown>
  /** What cannot be kept is found out again. */
  readonly keep: (finding: unknown) => Promise<void>
}

/**
 * @param file name in the cache
 * @param about what the finding depends on besides the host
 */
export const untilReboot = (file: string, about: string): UntilReboot => {
  const path = (): string => join(cacheRoot(), file)
  const situation = async (): Promise<string> => {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
    return `${boot.trim()} ${about}`
  }
  return {
    recall: async () => {
      try {
        const kept = JSON.parse(await readFile(path(), 'utf8')) as Partial<
          Record<'situation' | 'finding', unknown>
        >
        return kept.situation === (await situation()) ? kept.finding : undefined
      } catch {
        return undefined
      }
    },
    keep: async finding => {
      const text = JSON.stringify({ situation: await situation(), finding })
      try {
        await ensureFolder(cacheRoot())
        await writeWhole(path(), text)
      } catch (error) {
        if (systemCode(error) === undefined) throw error
      }
    },
  }
}
