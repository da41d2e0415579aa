import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { projectRoot } from '../base/paths.ts'

/** The version in package.json. */
export const VERSION = z
  .object({ version: z.string() })
  .parse(
    JSON.parse(readFileSync(join(projectRoot(), 'package.json'), 'utf8')),
  ).version
