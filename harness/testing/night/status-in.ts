import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { NightStatus } from '../../night/status.ts'

/** The status that a night under way keeps in its folder; undefined: none yet. */
export const statusIn = (folder: string): NightStatus | undefined => {
  try {
    return JSON.parse(
      readFileSync(join(folder, 'status.json'), 'utf8'),
    ) as NightStatus
  } catch {
    return undefined
  }
}
