import { hex } from '../../base/units.ts'
import { e820TypeName } from '../../memory/e820.ts'
import type { Range } from '../../memory/range.ts'
import type { HostFacts } from './found.ts'
import { textOf } from './remote.ts'

const range = ({ start, end }: Range): { start: string; end: string } => ({
  start: hex(start),
  end: hex(end),
})

/**
 * What a host is, as a document that may be handed on: no serial numbers, no
 * UUIDs, no addresses of its network, no names. Addresses are hexadecimal and
 * ranges half-open, as in results.
 */
export const portraitOf = (found: HostFacts): unknown => {
  const { answer, machine, facts, release } = found
  const lines = (name: string): Record<string, string> =>
    Object.fromEntries(
      textOf(answer, name)
        .split('\n')
        .flatMap(line => {
          const at = line.indexOf(' ')
          return at > 0 ? [[line.slice(0, at), line.slice(at + 1).trim()]] : []
        }),
    )
  const { tdx } = facts
  return {
    schema: 'tdxrig.host/1',
    firmware: lines('firmware'),
    cpu: lines('cpu'),
    kernel: release,
    firmwareMap: machine.e820.map(entry => ({
      ...range(entry),
      type: e820TypeName(entry.type),
    })),
    srat: machine.srat
      ? {
          cpus: machine.srat.cpus,
          memory: machine.srat.memory.map(block => ({
            ...range(block),
            domain: block.domain,
            hotplug: block.hotplug,
          })),
        }
      : null,
    cpus: machine.cpus,
    packageOf: machine.packageOf,
    nodeCpus: machine.nodeCpus,
    tdx: {
      outcome: tdx.outcome,
      message: tdx.message,
      privateKeyids: tdx.keyids,
      pamtKiB: tdx.pamtKib,
      module: tdx.module,
      moduleVersion: textOf(answer, 'tdx-module') || null,
      cmrs: tdx.cmrs?.map(range) ?? null,
    },
  }
}
