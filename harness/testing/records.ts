import { STAGE_OF_LEAF } from '../tdx/outcome.ts'
import { ConsoleReader } from '../console/reader.ts'
import { DEFAULT_BOARD } from '../board/index.ts'
import type { Evidence, JudgedKernel } from '../judge/context.ts'
import type {
  BootRecord,
  EndReason,
  MemoryWitness,
  ModuleWitness,
  PlugResult,
} from '../machine/record.ts'
import { type Prediction, predictCase } from '../judge/prediction.ts'
import {
  type BuiltScenario,
  buildScenario,
  caseOf,
  isRefused,
  problemTexts,
} from '../scenario/build.ts'
import type { Case, CaseBody } from '../scenario/case.ts'
import { e820TypeName } from '../memory/e820.ts'
import type { Layout } from '../memory/predict.ts'
import type { Range } from '../memory/range.ts'
import type { Series } from '../tdx/series/index.ts'
import { MAINLINE_6_8 } from '../tdx/series/mainline-6.8.ts'
import { V6 } from '../tdx/series/v6.ts'
import { LEAF } from '../tdx/leaves.ts'

const builtOf = (cell: object): BuiltScenario => {
  const built = buildScenario(
    {
      name: 'n',
      why: 'w',
      machine: { memory: '2G' },
      ...cell,
    },
    DEFAULT_BOARD,
  )
  if (isRefused(built)) throw new Error(problemTexts(built).join('; '))
  return built
}

/** A case from what would stand in a scenario file. */
export const bodyOf = (cell: object): CaseBody => builtOf(cell).body

/** The same with a name. */
export const namedCase = (
  cell: object,
  id = 'group/name@kernel',
  kernel = 'kernel',
): Case =>
  caseOf(builtOf(cell), { id, scenario: 'scenarios/group/name.yaml', kernel })

const mem = ({ start, end }: Range): string =>
  `[mem 0x${start.toString(16)}-0x${(end - 1).toString(16)}]`

/** A kernel, as far as a judge looks at it. */
export type TestKernel = JudgedKernel & { readonly series: Series }

const ENABLED: Readonly<Record<string, string>> = {
  'mainline-6.8': 'BIOS enabled: private KeyID range [32, 64)',
  v6: 'TDX enabled by BIOS. TDX private KeyID range: [32, 64)',
}

const regionLines = ({ regions }: Layout): string[] => [
  ...regions.map(
    region => `TDX memory region: ${mem(region)} node ${region.node}`,
  ),
  `TDX memory regions: ${regions.length}`,
]

/** What comes after the KeyIDs. */
const tdxLines = (
  { series, printsRegions }: TestKernel,
  { platform }: CaseBody,
  { layout, outcome }: Prediction,
): string[] => {
  const regions = printsRegions ? regionLines(layout) : []
  if (series.name === MAINLINE_6_8.name)
    return [
      ...regions,
      `${layout.pamtKib} KB allocated for PAMT`,
      'module initialized',
    ]
  return [
    ...regions,
    ...platform.cmrs.map(
      cmr =>
        `Kernel-checked-CMR : [0x${cmr.start.toString(16)}, 0x${cmr.end.toString(16)})`,
    ),
    ...(outcome?.outcome === 'initialized'
      ? [
          `${layout.pamtKib / 4} pages allocated for PAMT.`,
          'TDX module initialized.',
        ]
      : ['Failed to initialize TDX module.  Shut it down.']),
  ]
}

const stepLines = ({ steps }: CaseBody, { memory }: Prediction): string[] => [
  ...steps.flatMap((step, i) => {
    const known = memory.find(one => one.step === i)
    const refused = known?.result === 'refused'
    if (step.kind === 'plug')
      return [
        `tdxrig: step ${i} plug`,
        `tdxrig: step ${i} plugged: blocks=${refused ? 0 : 8}`,
      ]
    if (step.kind === 'kmem')
      return [`tdxrig: step ${i} kmem: blocks=${refused ? 0 : 8}`]
    if (step.kind === 'unplug')
      return [
        `tdxrig: step ${i} unplug`,
        `tdxrig: step ${i} unplugged: blocks=${refused ? 8 : 0}`,
      ]
    if (step.kind !== 'online' && step.kind !== 'offline memory') return []
    const word = step.kind === 'online' ? 'online' : 'offline-memory'
    return [
      `tdxrig: step ${i} ${word}: blocks=8 refused=${refused ? `8 errno=${known.errno}` : '0 errno=0'}`,
    ]
  }),
  'tdxrig: steps done',
]

/** What a kernel prints that does all that is predicted. */
const perfectConsole = (
  kernel: TestKernel,
  body: CaseBody,
  prediction: Prediction,
): string[] => {
  const { layout, outcome } = prediction
  const tried =
    outcome?.outcome === 'initialized' ||
    (outcome?.outcome === 'failed' && kernel.series.name === V6.name)
  const enable = kernel.series.name === V6.name ? 'none' : 0
  return [
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
    ...layout.srat.map(
      entry => `ACPI: SRAT: Node ${entry.node} PXM ${entry.node} ${mem(entry)}`,
    ),
    ...layout.memblock.map(range => `  node   ${range.node}: ${mem(range)}`),
    ...(tried
      ? [
          ...[
            ENABLED[kernel.series.name]!,
            ...tdxLines(kernel, body, prediction),
          ].map(text => kernel.series.marks.logPrefix + text),
          `tdxrig: trigger: cpus=2 tdx_cpu_enable=${enable} tdx_enable=${outcome.errno ?? 0}`,
          ...stepLines(body, prediction),
        ]
      : []),
  ]
}

/** TDMRs as the model wants them, PAMTs in the middle of the last region. */
const perfectTdmrs = ({
  layout,
}: Prediction): NonNullable<ModuleWitness['tdmrs']> => {
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

const ERROR = 0xc000090000000000n

/** The SEAMCALLs of a kernel, up to the one that fails. */
const perfectTrace = (
  { series }: TestKernel,
  { platform }: CaseBody,
  { layout, outcome }: Prediction,
): ModuleWitness['seamcalls'] => {
  const call = (leaf: number, cpu = 0, rcx = 0n) => ({
    leaf,
    cpu,
    rcx,
    status: 0n,
    rdx: 0n,
    r8: 0n,
  })
  const firstOf = (own: number): number => platform.packageOf.indexOf(own)
  const all = [
    call(LEAF.SYS_INIT),
    ...platform.packageOf.map((_, cpu) => call(LEAF.SYS_LP_INIT, cpu)),
    call(series.name === V6.name ? LEAF.SYS_INFO : LEAF.SYS_RD),
    call(LEAF.SYS_CONFIG),
    ...[...new Set(platform.packageOf)].map(own =>
      call(LEAF.SYS_KEY_CONFIG, firstOf(own)),
    ),
    ...layout.tdmrs.map(({ start }) =>
      call(LEAF.SYS_TDMR_INIT, 0, BigInt(start)),
    ),
  ]
  const failing = all.findIndex(
    ({ leaf }) => STAGE_OF_LEAF.get(leaf) === outcome?.stage,
  )
  if (outcome?.outcome !== 'failed') return all
  const shutdown = platform.packageOf.map((_, cpu) =>
    call(LEAF.SYS_LP_SHUTDOWN, cpu),
  )
  // Between SYS.INFO and SYS.CONFIG no SEAMCALL is made.
  const done = failing < 0 ? all.findIndex(isConfig) : failing
  return [
    ...all.slice(0, done),
    ...(failing < 0 ? [] : [{ ...all[failing]!, status: ERROR }]),
    ...shutdown,
  ]
}

const isConfig = ({ leaf }: { readonly leaf: number }): boolean =>
  leaf === LEAF.SYS_CONFIG

const MAINLINE: TestKernel = {
  series: MAINLINE_6_8,
  trigger: MAINLINE_6_8.trigger,
  hostsTdx: true,
  hibernates: false,
  hasMemlist: true,
  printsRegions: false,
  failsRegions: false,
}

/** What was seen of a boot, flat: tests change one thing of it. */
export interface Seen {
  readonly end: EndReason
  readonly cmdline: string
  readonly effectiveCmdline: string | null
  readonly keyidReads: number
  readonly regions: MemoryWitness['regions']
  readonly regionsAtBoot: MemoryWitness['regionsAtBoot']
  readonly seamcalls: ModuleWitness['seamcalls']
  readonly tdmrs: ModuleWitness['tdmrs']
  readonly unmetFaults: ModuleWitness['unmetFaults']
  readonly plugged: readonly PlugResult[]
  readonly stuck: BootRecord['stuck']
  readonly timing: BootRecord['timing']
}

/** The record of a boot that all witnesses have seen. */
export const recordOf = (seen: Seen): BootRecord => ({
  end: seen.end,
  stuck: seen.stuck,
  timing: seen.timing,
  start: { cmdline: seen.cmdline, argv: ['qemu-system-x86_64'] },
  witnesses: {
    console: {
      path: '/t/console.log',
      timesPath: '/t/console.times',
      lossy: false,
    },
    memory: {
      regions: seen.regions,
      regionsAtBoot: seen.regionsAtBoot,
      allocations: null,
      cmdline: seen.effectiveCmdline,
    },
    module: {
      seamcalls: seen.seamcalls,
      tdmrs: seen.tdmrs,
      keyidReads: seen.keyidReads,
      unmetFaults: seen.unmetFaults,
    },
    steps: { plugged: seen.plugged },
  },
})

/** A boot in which everything is as predicted. */
export const perfectBoot = (
  body: CaseBody,
  editConsole: (lines: string[]) => string[] = lines => lines,
  kernel: TestKernel = MAINLINE,
): {
  prediction: Prediction
  seen: Seen
  console: Pick<Evidence, 'facts' | 'tail'>
} => {
  const prediction = predictCase(body, kernel)
  const reader = new ConsoleReader()
  reader.push(
    Buffer.from(
      editConsole(perfectConsole(kernel, body, prediction))
        .map(line => `${line}\n`)
        .join(''),
    ),
  )
  reader.end()
  const seamcalls = perfectTrace(kernel, body, prediction)
  return {
    prediction,
    console: { facts: reader.facts(), tail: reader.tail },
    seen: {
      end: 'settled',
      cmdline: body.words.join(' '),
      effectiveCmdline: null,
      keyidReads: 1,
      regions: prediction.layout.regions,
      regionsAtBoot: prediction.regionsAtBoot ?? null,
      seamcalls,
      tdmrs: seamcalls.some(isConfig) ? perfectTdmrs(prediction) : null,
      unmetFaults: [],
      plugged: body.steps.flatMap(step =>
        step.kind === 'plug' ? [{ name: step.dimm.name, status: 0 }] : [],
      ),
      stuck: [],
      timing: { total: 600, firstByte: 70 },
    },
  }
}
