import { mkdir, readFile, rename } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import { InfraError } from '../base/errors.ts'
import { cacheRoot, isThere, projectRoot } from '../base/paths.ts'
import { toolchain } from '../base/toolchain.ts'

/** A static program without a C library: it runs on any kernel. */
const FLAGS = [
  '-Os',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-static',
  '-nostdlib',
  '-ffreestanding',
  '-fno-stack-protector',
  '-fno-pie',
  '-no-pie',
  '-fno-asynchronous-unwind-tables',
  '-Wl,--build-id=none',
  '-s',
]

/**
 * Our init program, from the cache or compiled now.
 *
 * @returns its path
 */
export const buildInit = async (signal: AbortSignal): Promise<string> => {
  const source = join(projectRoot(), 'images', 'init', 'init.c')
  const key = createHash('sha256')
    .update(JSON.stringify([FLAGS, await toolchain()]))
    .update(await readFile(source))
    .digest('hex')
  const path = join(cacheRoot(), 'programs', `init-${key.slice(0, 16)}`)
  if (await isThere(path)) return path
  await mkdir(dirname(path), { recursive: true })
  const partial = `${path}.${process.pid}`
  const { failed, stderr } = await execa(
    'gcc',
    [...FLAGS, '-o', partial, source],
    { reject: false, cancelSignal: signal },
  )
  signal.throwIfAborted()
  if (failed)
    throw new InfraError('BUILD_FAILED', `cannot compile init:\n${stderr}`)
  // Whoever else compiles it makes the same program.
  await rename(partial, path)
  return path
}
