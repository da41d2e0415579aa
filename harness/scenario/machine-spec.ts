import {
  GIB,
  KIB,
  MIB,
  PAGE_SIZE,
  alignUp,
  formatSize,
  hex,
} from '../base/units.ts'
import {
  type Board,
  type BoardModel,
  type FoundMachine,
  type MachineMemory,
  modelOf,
} from '../board/board.ts'
import { setupData } from '../board/setup-data.ts'
import { usable } from '../memory/e820.ts'
import { MINIMUM_MEMORY } from '../memory/minimum.ts'
import { type Firmware, predictLayout } from '../memory/predict.ts'
import {
  type NodeRange,
  type Range,
  formatRange,
  overlaps,
  totalSize,
} from '../memory/range.ts'
import { type SratReading, readSrat } from '../memory/srat.ts'
import { MODULE_LIMITS } from '../tdx/metadata-values.ts'
import { NEWEST_SERIES } from '../tdx/series/index.ts'
import type { CpuModelName } from './cpu-models.ts'
import {
  assignCpus,
  cpuProblems,
  cpusByDomain,
  defaultPackages,
  packageProblems,
} from './machine-cpus.ts'
import {
  type FirmwareSpec,
  firmwareProblems,
  firmwareSpec,
} from './firmware.ts'
import type { Problem } from './problem.ts'
import type { Cell } from './schema.ts'
import type { DataPath } from '../base/yaml-file.ts'

/** A machine that can be built. */
export interface MachineSpec {
  readonly board: Board
  readonly memory: MachineMemory
  readonly cpus: number
  readonly cpuModel: CpuModelName
  readonly packages: number
  /** CPUs of each node, by node; empty for a machine without nodes. */
  readonly nodeCpus: readonly (readonly number[])[]
  readonly firmware: FirmwareSpec
}

/** The SRAT of a machine, as the kernel reads it. */
export const machineSrat = ({
  board,
  memory,
  nodeCpus,
  firmware,
}: Pick<MachineSpec, 'board' | 'memory' | 'nodeCpus' | 'firmware'>):
  SratReading | undefined => {
  const srat = firmware.srat ?? modelOf(board).srat(memory, nodeCpus)
  return srat && readSrat(srat)
}

/** Where entries of the scenario's map beyond the 128th are handed over. */
export const setupDataOf = (machine: MachineSpec): Range | undefined => {
  const { e820 } = machine.firmware
  return e820 && setupData(e820, machine, modelOf(machine.board))
}

/** Its usable memory before any parameter takes some, by the kernel's nodes. */
export const bootMemory = (machine: MachineSpec): readonly NodeRange[] =>
  predictLayout({
    firmware: machineFirmware(machine),
    cmdline: '',
    limits: MODULE_LIMITS,
    rules: NEWEST_SERIES.memoryRules,
  }).memblock

/** What the firmware and QEMU hand to a kernel on a machine. */
export const machineFirmware = (machine: MachineSpec): Firmware => {
  const { firmware } = machine
  return {
    e820: firmware.e820 ?? modelOf(machine.board).firmwareMap(machine),
    srat: machineSrat(machine),
    setupData: setupDataOf(machine),
  }
}

/** struct page takes 1/64 of a guest's memory, and that much of the host's. */
export const MAX_MEMORY = 512 * GIB

type Machine = Cell['machine']

/**
 * @param dimms sizes of the DIMMs that steps will plug
 * @returns the machine, or everything that is wrong with it
 */
export const machineSpec = (
  asked: Machine,
  dimms: readonly number[],
  board: Board,
):
  | { readonly spec: MachineSpec }
  | { readonly problems: readonly Problem[] } => {
  if (board.found) return foundSpec(asked, board.found, board)
  const model = modelOf(board)
  const sized = withMemory(withNeeds(asked), model)
  const machine = dimms.length > 0 ? withNode(sized) : sized
  const sizes = machine.nodes?.map(node => node.memory) ?? []
  const total = machine.memory ?? sizes.reduce((sum, size) => sum + size, 0)
  const memory = { size: total, nodes: sizes, dimms }
  const nodeCpus = machine.nodes ? assignCpus(machine) : []
  const firmware = firmwareSpec(machine.firmware)
  const { cpus } = machine
  const packages =
    machine.packages ??
    defaultPackages(
      cpus,
      firmware.srat ? cpusByDomain(firmware.srat) : nodeCpus,
    )
  const problems = [
    ...memoryProblems(sized, memory),
    ...startProblems(machine, memory, model),
    ...cpuProblems(machine, nodeCpus),
    ...packageProblems(machine),
    ...needProblems(machine, { memory, cpus }),
    ...sratExcludes(asked, dimms),
    ...firmwareProblems(machine.firmware, { memory, packages, cpus }, model),
  ]
  return problems.length > 0
    ? { problems }
    : {
        spec: {
          board,
          memory,
          cpus,
          packages,
          nodeCpus,
          firmware,
          cpuModel: machine.cpuModel,
        },
      }
}

/**
 * QEMU gives a machine that takes DIMMs a node of its own accord
 * (auto_enable_numa_with_memhp, hw/core/numa.c); here it is said.
 */
const withNode = ({ memory, ...machine }: Machine): Machine =>
  machine.nodes || memory === undefined
    ? { ...machine, memory }
    : { ...machine, nodes: [{ memory }] }

/** A machine that is there; whatever else is asked for, it is this one. */
const foundSpec = (
  asked: Machine,
  { e820, srat, cpus, packageOf, nodeCpus }: FoundMachine,
  board: Board,
): ReturnType<typeof machineSpec> => {
  const blocks = srat ? readSrat(srat).blocks : []
  const nodes = nodeCpus.map((_, node) =>
    totalSize(blocks.filter(block => block.node === node)),
  )
  const memory = { size: totalSize(usable(e820)), nodes, dimms: [] }
  const problems = needProblems(asked, { memory, cpus })
  if (problems.length > 0) return { problems }
  return {
    spec: {
      board,
      memory,
      cpus,
      packages: new Set(packageOf).size,
      nodeCpus,
      firmware: { e820: undefined, srat: undefined },
      cpuModel: asked.cpuModel,
    },
  }
}

/** What is not said of the machine follows from what it needs. */
const withNeeds = (machine: Machine): Machine => {
  const { needs, nodes, memory, firmware } = machine
  if (!needs || nodes || memory !== undefined || firmware.e820) return machine
  const size = needs.memory ?? DEFAULT_NEED
  const cpus = Math.max(machine.cpus, needs.cpus ?? 1)
  if (needs.nodes === undefined) return { ...machine, cpus, memory: size }
  const share = alignUp(Math.ceil(size / needs.nodes), MIB)
  return {
    ...machine,
    cpus,
    nodes: Array.from({ length: needs.nodes }, () => ({ memory: share })),
  }
}

/** Memory on both sides of the hole below 4 GiB. */
const DEFAULT_NEED = 4 * GIB

/** Firmware keeps some of a server's memory: a 64 GiB machine has less. */
const USABLE_SHARE = 15 / 16

/** What is needed, and is not there. */
const needProblems = (
  { needs = {} }: Machine,
  { memory, cpus }: Pick<MachineSpec, 'memory' | 'cpus'>,
): Problem[] => {
  const nodes = Math.max(1, memory.nodes.length)
  const compared = [
    { key: 'nodes', least: needs.nodes, found: nodes, show: 'nodes' },
    { key: 'cpus', least: needs.cpus, found: cpus, show: 'CPUs' },
  ]
  return [
    ...compared.flatMap(({ key, least = 1, found, show }) =>
      found >= least
        ? []
        : [
            problem(
              ['needs', key],
              `expected a machine with ${least} ${show}, found ${found}`,
            ),
          ],
    ),
    ...(memory.size >= (needs.memory ?? 0) * USABLE_SHARE
      ? []
      : [
          problem(
            ['needs', 'memory'],
            `expected a machine with ${formatSize(needs.memory ?? 0)} of memory, found ${formatSize(memory.size)}`,
          ),
        ]),
  ]
}

/** A map says how much memory it needs. */
const withMemory = (machine: Machine, model: BoardModel): Machine =>
  machine.firmware.e820 && !machine.nodes && machine.memory === undefined
    ? { ...machine, memory: model.memoryFor(machine.firmware.e820) }
    : machine

const sratExcludes = (
  { firmware, nodes }: Machine,
  dimms: readonly number[],
): Problem[] => {
  if (!firmware.srat) return []
  if (nodes)
    return [
      problem(
        ['nodes'],
        "'nodes' and 'firmware.srat' exclude each other: the SRAT says which memory is on which node",
      ),
    ]
  return dimms.length > 0
    ? [
        problem(
          ['firmware', 'srat'],
          'a machine with DIMMs has the SRAT of QEMU, which has the room for them',
        ),
      ]
    : []
}

const problem = (at: DataPath, message: string): Problem => ({
  at: ['machine', ...at],
  message,
})

const memoryProblems = (machine: Machine, memory: MachineMemory): Problem[] => {
  if (machine.nodes && machine.memory !== undefined)
    return [
      problem(
        ['memory'],
        "'memory' and 'nodes' exclude each other: the nodes' memory adds up",
      ),
    ]
  if (!machine.nodes && machine.memory === undefined)
    return [
      problem([], "expected 'memory' (for example 4G), 'nodes' or 'needs'"),
    ]
  const at: DataPath = machine.nodes ? ['nodes'] : ['memory']
  if (memory.size < MINIMUM_MEMORY.machine)
    return [
      problem(
        at,
        `expected at least ${formatSize(MINIMUM_MEMORY.machine)} of memory in all, found ${formatSize(memory.size)}`,
      ),
    ]
  const all = memory.dimms.reduce((sum, size) => sum + size, memory.size)
  if (all > MAX_MEMORY)
    return [
      problem(
        at,
        `expected at most ${formatSize(MAX_MEMORY)} of memory in all${memory.dimms.length > 0 ? ', with DIMMs' : ''}, found ${formatSize(all)}: a guest touches 1/64 of it`,
      ),
    ]
  if (memory.size % MIB !== 0)
    return [
      problem(
        at,
        `expected whole MiB of memory in all, found ${memory.size} bytes`,
      ),
    ]
  const border = borderInLegacyHole(memory)
  if (border !== undefined)
    return [
      problem(
        ['nodes', border],
        'a node cannot end between 640K and 1M: there is no memory',
      ),
    ]
  return memory.nodes.flatMap((size, i) =>
    size % PAGE_SIZE === 0
      ? []
      : [
          problem(
            ['nodes', i, 'memory'],
            `expected whole pages of 4K, found ${size} bytes`,
          ),
        ],
  )
}

/** QEMU shifts the nodes that follow such a border; no machine has one. */
const borderInLegacyHole = ({ nodes }: MachineMemory): number | undefined => {
  let end = 0
  const at = nodes.findIndex(size => {
    end += size
    return end > 640 * KIB && end < MIB
  })
  return at < 0 ? undefined : at
}

/** `start` is a statement: the file's writer says where a border is. */
const startProblems = (
  machine: Machine,
  memory: MachineMemory,
  model: BoardModel,
): Problem[] => {
  const problems: Problem[] = []
  const placed = model.srat(memory, [])?.memory ?? []
  machine.nodes?.forEach((node, i) => {
    if (node.start === undefined) return
    const asked = { start: node.start, end: node.start + node.memory }
    const other = placed.find(
      range => range.domain < i && overlaps(range, asked),
    )
    const actual = placed.find(range => range.domain === i)?.start
    if (other)
      problems.push(
        problem(
          ['nodes', i, 'start'],
          `node ${i} at ${formatRange(asked)} overlaps node ${other.domain} at ${formatRange(other)}`,
        ),
      )
    else if (actual !== undefined && actual !== node.start)
      problems.push(
        problem(
          ['nodes', i, 'start'],
          `node ${i} starts at ${hex(actual)} on this machine, not at ${hex(node.start)}: nodes follow each other, with a gap below 4G`,
        ),
      )
  })
  return problems
}
