import { join } from 'node:path'
import { execa } from 'execa'
import { projectRoot } from '../../base/paths.ts'
import { type Finding, missing, ok } from './finding.ts'

/** What each run uses; the others build kernels. */
const ALWAYS: ReadonlySet<string> = new Set(['flock', 'setpriv', 'gcc', 'ld'])

/** It has a finding of its own. */
const QEMU = 'emulation'

/** A line of scripts/lacking: `  building kernels: bc lz4`. */
const LINE = /^ {2}(.+): (.+)$/

export interface Programs {
  readonly findings: readonly Finding[]
  /** All that builds kernels is there. */
  readonly canBuild: boolean
}

/** What scripts/lacking does not find, by what it is for. */
export const programFindings = async (): Promise<Programs> => {
  const { stdout } = await execa(join(projectRoot(), 'scripts', 'lacking'))
  const findings = lackingFindings(stdout)
  return {
    canBuild: findings.length === 0,
    findings:
      findings.length > 0
        ? findings
        : [ok('programs', 'all that kernels are built with')],
  }
}

/** @param text what scripts/lacking printed */
export const lackingFindings = (text: string): Finding[] =>
  text.split('\n').flatMap(line => {
    const [, purpose = '', names = ''] = LINE.exec(line) ?? []
    return purpose === '' || purpose === QEMU
      ? []
      : [
          missing(
            'programs',
            `for ${purpose}: ${names} not found`,
            'install what has them, or run ./scripts/setup',
            names.split(' ').some(name => ALWAYS.has(name)),
          ),
        ]
  })
