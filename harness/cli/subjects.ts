import { withPlatforms } from '../console/platform-reader.ts'
import type { PlatformFacts } from '../console/facts.ts'
import type { Log } from './log.ts'

/** Output of tools alone: a kernel wrote nothing in it. */
export const isReport = ({ boots }: Log): boolean =>
  boots.every(
    ({ records, cmdline, tdx, platform }) =>
      platform !== null &&
      records === 0 &&
      (cmdline === null || cmdline === platform.cmdline?.text) &&
      tdx.lines.length === 0,
  )

const platformOf = ({ boots }: Log): PlatformFacts | null =>
  boots[0]?.platform ?? null

/**
 * Files of one machine are one subject: what tools say of it is read together,
 * and with its log, where there is one alone.
 */
export const asSubjects = (logs: readonly Log[]): Log[] => {
  // What was collected of a machine is a subject of its own.
  const isPart = (log: Log): boolean => !log.isCollection && isReport(log)
  const reports = logs.filter(isPart)
  const others = logs.filter(log => !isPart(log))
  if (reports.length === 0 || others.length > 1 || logs.length === 1)
    return [...logs]
  if (others.some(({ isCollection }) => isCollection)) return [...logs]
  const [subject = reports[0]!] = others
  const rest = reports.filter(one => one !== subject)
  const platform = [subject, ...rest].map(platformOf).reduce(joined, null)
  return [
    {
      ...subject,
      file: [subject, ...rest].map(({ file }) => file).join(' + '),
      // A page shows one text, and lines of others would be marked in it.
      text: null,
      boots: withPlatforms(subject.boots, platform),
    },
  ]
}

/** Of two, the first says what both say. */
const joined = (
  one: PlatformFacts | null,
  other: PlatformFacts | null,
): PlatformFacts | null => {
  if (one === null || other === null) return one ?? other
  return {
    msrs: [...one.msrs, ...other.msrs],
    cpu: one.cpu?.family == null ? (other.cpu ?? one.cpu) : one.cpu,
    hypervisor: one.hypervisor ?? other.hypervisor,
    flags: one.flags ?? other.flags,
    kernel: one.kernel ?? other.kernel,
    packages: [...one.packages, ...other.packages],
    complaints: [...one.complaints, ...other.complaints],
    firmwareMap:
      one.firmwareMap.length > 0 ? one.firmwareMap : other.firmwareMap,
    iomem: one.iomem.length > 0 ? one.iomem : other.iomem,
    isIomemHidden: one.isIomemHidden && other.isIomemHidden,
    cmdline: one.cmdline ?? other.cmdline,
    kvmTdx: one.kvmTdx ?? other.kvmTdx,
  }
}
