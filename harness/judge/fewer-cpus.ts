import { parseCmdline } from '../memory/cmdline.ts'

/** Parameters after which not every CPU comes up. */
export const fewerCpus = (words: readonly string[]): string | undefined =>
  parseCmdline(words.join(' ')).find(({ name }) =>
    FEWER_CPUS.has(name.replaceAll('-', '_')),
  )?.name

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
