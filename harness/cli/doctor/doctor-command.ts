import colors from 'picocolors'
import { type Finding, type Paint, findingsText, isReady } from './finding.ts'
import { kernelFindings } from './kernels.ts'
import {
  diskFindings,
  historyFinding,
  inventoryFinding,
  memoryFinding,
  nodeFinding,
  qemuFindings,
} from './machine.ts'
import { programFindings } from './programs.ts'

/**
 * `tdxrig doctor`: what of this machine the rig can use. Nothing is booted,
 * built or fetched, and no host is contacted.
 *
 * @returns 3 when no case can be run here
 */
export const doctorCommand = async ({
  json = false,
}: {
  readonly json?: boolean
}): Promise<number> => {
  const findings = await allFindings()
  const ready = isReady(findings)
  process.stdout.write(
    json
      ? `${JSON.stringify(document(findings), null, 2)}\n`
      : findingsText(findings, paint),
  )
  return ready ? 0 : 3
}

const allFindings = async (): Promise<Finding[]> => {
  const programs = await programFindings()
  return [
    nodeFinding(),
    ...(await qemuFindings()),
    ...(await kernelFindings(programs.canBuild)),
    ...programs.findings,
    ...(await diskFindings()),
    await memoryFinding(),
    await historyFinding(),
    await inventoryFinding(),
  ]
}

const document = (findings: readonly Finding[]) => ({
  schema: 'tdxrig.doctor/1',
  ready: isReady(findings),
  checks: findings.map(({ part, state, found, todo, isBlocking }) => ({
    part,
    state,
    found,
    todo,
    blocking: isBlocking,
  })),
})

const paint: Paint = (text, state) =>
  ({ ok: colors.green, warning: colors.yellow, missing: colors.red })[state](
    text,
  )
