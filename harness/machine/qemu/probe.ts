import { execa } from 'execa'
import { InfraError } from '../../base/errors.ts'
import { memoized } from '../../base/memo.ts'
import { findProgram } from '../../base/paths.ts'

const PROGRAM = 'qemu-system-x86_64'

/** 7.2 is the first we know to run all of this; Debian 12 has it. */
const MINIMUM: readonly [number, number] = [7, 2]

/** A QEMU that is recent enough. */
export interface Qemu {
  readonly binary: string
  readonly version: string
}

/** @throws InfraError when there is none, or it is too old */
export const findQemu = async (): Promise<Qemu> => {
  const binary = await findProgram(PROGRAM)
  if (binary === undefined)
    throw new InfraError(
      'NO_QEMU',
      `expected ${PROGRAM} in PATH, found none: install qemu-system-x86 ${MINIMUM.join('.')} or later, or run ./scripts/setup`,
    )
  const text = await memoized(binary, 'version', async real => {
    const { stdout } = await execa(real, ['--version'], { reject: false })
    return stdout.split('\n')[0] ?? ''
  })
  const match = /version (\d+)\.(\d+)(?:\.(\d+))?/.exec(text)
  if (!match)
    throw new InfraError(
      'NO_QEMU',
      `expected ${binary} --version to name a version, found '${text}'`,
    )
  const [major, minor] = [Number(match[1]), Number(match[2])]
  if (major < MINIMUM[0] || (major === MINIMUM[0] && minor < MINIMUM[1]))
    throw new InfraError(
      'OLD_QEMU',
      `expected QEMU ${MINIMUM.join('.')} or later, found ${match[0].slice(8)} at ${binary}: install a newer one`,
    )
  return { binary, version: match[0].slice(8) }
}
