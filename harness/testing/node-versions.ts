import { execa } from 'execa'
import { readFileSync } from 'node:fs'
import { copyFile, mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { withLock } from '../base/lock.ts'
import { cacheRoot, projectRoot } from '../base/paths.ts'

/** A release of Node.js that the tests run tdxrig on. */
export interface NodeRelease {
  readonly version: string
  /** Path of its `node`. */
  readonly program: string
}

/** The releases, or why they cannot be had here. */
export type NodeReleases =
  | { readonly releases: readonly NodeRelease[]; readonly missing?: never }
  | { readonly releases?: never; readonly missing: string }

/** Names the releases: npm packages that hold a `node` and nothing else. */
const PACKAGE = join(projectRoot(), 'harness', 'testing', 'node-versions')

const LOCK_FILE = 'package-lock.json'

const lockSchema = z.object({
  packages: z.record(z.string(), z.object({ version: z.string().optional() })),
})

/** npm's errors that are ours: a lock file that does not fit its package. */
const OURS = ['EUSAGE', 'EINTEGRITY', 'EJSONPARSE']

/**
 * Downloads the releases into the cache unless they are there. They take
 * 530 MB, so only tests that need them ask.
 */
export const nodeReleases = async (): Promise<NodeReleases> => {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return {
      missing: `expected Linux on x64, found ${process.platform} on ${process.arch}`,
    }
  const folder = join(cacheRoot(), 'node-versions')
  const missing = await withLock(`${folder}.lock`, () => install(folder), {
    onWait: () => undefined,
  })
  return missing === undefined ? { releases: releasesIn(folder) } : { missing }
}

const releasesIn = (folder: string): NodeRelease[] => {
  const { packages } = lockSchema.parse(JSON.parse(lockIn(PACKAGE) ?? ''))
  return Object.entries(packages).flatMap(([path, { version }]) =>
    version === undefined
      ? []
      : [{ version, program: join(folder, path, 'bin', 'node') }],
  )
}

const lockIn = (folder: string): string | undefined => {
  try {
    return readFileSync(join(folder, LOCK_FILE), 'utf8')
  } catch {
    return undefined
  }
}

/** @returns why they cannot be downloaded; undefined: they are there */
const install = async (folder: string): Promise<string | undefined> => {
  if (lockIn(folder) === lockIn(PACKAGE)) return undefined
  const partial = `${folder}.partial`
  await rm(partial, { recursive: true, force: true })
  await mkdir(partial, { recursive: true })
  for (const name of ['package.json', LOCK_FILE])
    await copyFile(join(PACKAGE, name), join(partial, name))
  const { failed, stderr, shortMessage } = await execa(
    'npm',
    [
      'ci',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      // By default npm waits ten seconds and a minute before it gives up.
      '--fetch-retries=1',
      '--fetch-retry-mintimeout=1000',
    ],
    { cwd: partial, reject: false },
  )
  if (!failed) {
    await rm(folder, { recursive: true, force: true })
    await rename(partial, folder)
    return undefined
  }
  await rm(partial, { recursive: true, force: true })
  const code = /^npm error code (\S+)/m.exec(stderr)?.[1]
  if (code !== undefined && OURS.includes(code)) throw new TypeError(stderr)
  return `cannot download other releases of Node.js: ${code ?? shortMessage}`
}
