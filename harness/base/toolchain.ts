import { execa } from 'execa'
import { InfraError } from './errors.ts'
import { findProgram } from './paths.ts'

/**
 * Versions of compiler and linker, as they print them. Asked anew by each run:
 * what is called gcc may be a wrapper that never changes.
 */
export const toolchain = (): Promise<string[]> => (known ??= askToolchain())
let known: Promise<string[]> | undefined

const askToolchain = (): Promise<string[]> =>
  Promise.all(
    ['gcc', 'ld'].map(async tool => {
      const path = await findProgram(tool)
      if (path === undefined)
        throw new InfraError(
          'NO_TOOLCHAIN',
          `expected ${tool} in PATH, found none: run ./scripts/setup`,
        )
      const { stdout } = await execa(path, ['--version'])
      return stdout.split('\n')[0]!
    }),
  )
