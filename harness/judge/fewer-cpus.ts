import { parseCmdline } from '../memory/cmdline.ts'

/** Parameters after which not every CPU comes up. */
export interface FewerCpus {
  /** As it stands on the command line. */
  readonly name: string
  /** CPUs that come up; undefined: that is not known. */
  readonly online: number | undefined
}

/** What of a command line keeps CPUs offline; undefined: nothing does. */
export const fewerCpus = (words: readonly string[]): FewerCpus | undefined => {
  const found = parseCmdline(words.join(' ')).filter(({ name }) =>
    FEWER_CPUS.has(name.replaceAll('-', '_')),
  )
  const [first, ...others] = found
  if (!first) return undefined
  const { name, value } = first
  return {
    name,
    online:
      others.length === 0 && name === 'maxcpus' ? maxcpus(value) : undefined,
  }
}

/** maxcpus= (kernel/smp.c): 0 is one CPU, without SMP. */
const maxcpus = (value: string | undefined): number | undefined =>
  value !== undefined && /^[1-9]\d{0,3}$/.test(value)
    ? Number(value)
    : undefined

const FEWER_CPUS: ReadonlySet<string> = new Set([
  'maxcpus',
  'nr_cpus',
  'nosmp',
  'possible_cpus',
  'disable_cpu_apicid',
  'nolapic',
  'noapic',
  'disableapic',
  'acpi',
  'noacpi',
])
