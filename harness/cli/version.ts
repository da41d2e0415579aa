import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { projectRoot } from '../base/paths.ts'

const { version, engines } = z
  .object({ version: z.string(), engines: z.object({ node: z.string() }) })
  .parse(JSON.parse(readFileSync(join(projectRoot(), 'package.json'), 'utf8')))

/** The version in package.json. */
export const VERSION = version

/** The oldest Node.js that the rig is for, as package.json says. */
export const OLDEST_NODE = engines.node.replace(/^>=/, '')
