import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../base/paths.ts'

// Our own file, and read by every command: a schema would cost more than all
// the rest of it.
const { version, engines } = JSON.parse(
  readFileSync(join(projectRoot(), 'package.json'), 'utf8'),
) as { readonly version: string; readonly engines: { readonly node: string } }

/** The version in package.json. */
export const VERSION = version

/** The oldest Node.js that the rig is for, as package.json says. */
export const OLDEST_NODE = engines.node.replace(/^>=/, '')
