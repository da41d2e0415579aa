import { LEAF } from '../tdx/leaves.ts'
import { ConsoleReader } from '../console/reader.ts'
import type { BootRecord } from '../machine/machine.ts'
import { type Prediction, predictCase } from '../judge/prediction.ts'
import { type CaseBody, caseBody } from '../scenario/case.ts'
import { cellSchema } from '../scenario/schema.ts'
import { e820TypeName } from '../memory/e820.ts'
import { q35Srat } from '../memory/firmware-map.ts'
import type { Range } from '../memory/range.ts'

/** A case from what would stand in a scenario file. */
export const bodyOf = (cell: object): CaseBody => {
  const built = caseBody(
    cellSchema.parse({
      name: 'n',
      why: 'w',
      machine: { memory: '2G' },
      ...cell,
    }),
  )
  if ('problems' in built) throw new Error(JSON.stringify(built.problems))
  return built.body
}

const mem = ({ start, end }: Range): string =>
  `[mem 0x${start.toString(16)}-0x${(end - 1).toString(16)}]`

/** What a kernel prints that does all that is predicted. */
const perfectConsole = (
  body: CaseBody,
  { layout, outcome }: Prediction,
): string[] => [
  'Linux version 6.12.0-test',
  `Command line: ${body.words.join(' ')}`,
  ...layout.firmwareMap.map(
    entry => `BIOS-e820: ${mem(entry)} ${e820TypeName(entry.type)}`,
  ),
  ...(layout.userMap ? ['user-defined physical RAM map:'] : []),
  ...(layout.userMap ?? []).map(
    entry => `user: ${mem(entry)} ${e820TypeName(entry.type)}`,
  ),
  ...(layout.numaFallback === undefined ? [] : [layout.numaFallback]),
  ...q35Srat(body.machine.memory, body.machine.nodeCpus).map(
    entry => `ACPI: SRAT: Node ${entry.node} PXM ${entry.node} ${mem(entry)}`,
  ),
  ...layout.memblock.map(range => `  node   ${range.node}: ${mem(range)}`),
  ...(outcome?.outcome === 'initialized'
    ? [
        'virt/tdx: BIOS enabled: private KeyID range [32, 64)',
        `virt/tdx: ${layout.pamtKib} KB allocated for PAMT`,
        'virt/tdx: module initialized',
        'tdxrig: trigger: cpus=2 tdx_cpu_enable=0 tdx_enable=0',
        'tdxrig: steps done',
      ]
    : []),
]

/** TDMRs as the model wants them, PAMTs in the middle of the last region. */
const perfectTdmrs = ({
  layout,
}: Prediction): NonNullable<BootRecord['tdmrs']> => {
  let next = BigInt(layout.regions.at(-1)!.start + 0x8000000)
  const pamts = layout.tdmrs.map(({ pamtSizes }) =>
    pamtSizes.map(bytes => {
      const span = { base: next, size: BigInt(bytes) }
      next += span.size
      return span
    }),
  )
  return layout.tdmrs.map((tdmr, i) => {
    const start = BigInt(tdmr.start)
    const areas = [
      ...tdmr.holes.map(
        hole => [BigInt(hole.start), BigInt(hole.end)] as const,
      ),
      ...pamts.flatMap(levels => {
        const from = levels[0]!.base
        const to = levels[2]!.base + levels[2]!.size
        return from >= start && to <= BigInt(tdmr.end)
          ? [[from, to] as const]
          : []
      }),
    ].sort((a, b) => (a[0] < b[0] ? -1 : 1))
    const [p4k, p2m, p1g] = pamts[i]!
    return {
      base: start,
      size: BigInt(tdmr.end) - start,
      pamt: [p4k!, p2m!, p1g!],
      reserved: areas.map(([from, to]) => ({
        offset: from - start,
        size: to - from,
      })),
    }
  })
}

/** The SEAMCALLs of Linux 6.12, all of which succeed. */
const perfectTrace = (
  { platform }: CaseBody,
  { layout }: Prediction,
): BootRecord['seamcalls'] => {
  const call = (leaf: number, cpu = 0, rcx = 0n) => ({
    ...{ leaf, cpu, rcx, status: 0n, rdx: 0n, r8: 0n },
  })
  const firstOf = (own: number): number => platform.packageOf.indexOf(own)
  return [
    call(LEAF.SYS_INIT),
    ...platform.packageOf.map((_, cpu) => call(LEAF.SYS_LP_INIT, cpu)),
    call(LEAF.SYS_RD),
    call(LEAF.SYS_CONFIG),
    ...[...new Set(platform.packageOf)].map(own =>
      call(LEAF.SYS_KEY_CONFIG, firstOf(own)),
    ),
    ...layout.tdmrs.map(({ start }) =>
      call(LEAF.SYS_TDMR_INIT, 0, BigInt(start)),
    ),
  ]
}

/** The record of a boot in which everything is as predicted. */
export const perfectRecord = (
  body: CaseBody,
  editConsole: (lines: string[]) => string[] = lines => lines,
): { prediction: Prediction; record: BootRecord } => {
  const prediction = predictCase(body, { lineage: 'upstream' })
  const reader = new ConsoleReader()
  reader.push(
    Buffer.from(
      editConsole(perfectConsole(body, prediction))
        .map(line => `${line}\n`)
        .join(''),
    ),
  )
  reader.end()
  const record: BootRecord = {
    end: 'settled',
    facts: reader.facts(),
    cmdline: body.words.join(' '),
    effectiveCmdline: undefined,
    keyidReads: 1,
    regionsAtBoot: [],
    plugged: [],
    unmetFaults: [],
    seamcalls: perfectTrace(body, prediction),
    regions: prediction.layout.regions,
    tdmrs: perfectTdmrs(prediction),
    stuck: [],
    timing: { total: 600, firstByte: 70 },
    consolePath: '/t/console.log',
    timesPath: '/t/console.times',
    argv: ['qemu-system-x86_64'],
    tail: reader.tail,
  }
  return { prediction, record }
}
