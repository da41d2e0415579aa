import { GIB, KIB, MIB, PAGE_SIZE, formatSize, hex } from '../base/units.ts'
import { type MachineMemory, q35Srat } from '../memory/firmware-map.ts'
import { formatRange, overlaps } from '../memory/range.ts'
import type { Problem } from './problem.ts'
import type { Cell } from './schema.ts'
import type { DataPath } from '../base/yaml-file.ts'

/** A machine that can be built. */
export interface MachineSpec {
  readonly memory: MachineMemory
  readonly cpus: number
  readonly packages: number
  /** CPUs of each node, by node; empty for a machine without nodes. */
  readonly nodeCpus: readonly (readonly number[])[]
}

const MIN_MEMORY = 512 * MIB
/** struct page takes 1/64 of a guest's memory, and that much of the host's. */
const MAX_MEMORY = 512 * GIB
/** tot_num_sockets of the TDX module never exceeds MAX_PKGS. */
const DEFAULT_PACKAGES_MAX = 8

type Machine = Cell['machine']

/**
 * @param dimms sizes of the DIMMs that steps will plug
 * @returns the machine, or everything that is wrong with it
 */
export const machineSpec = (
  asked: Machine,
  dimms: readonly number[],
):
  | { readonly spec: MachineSpec }
  | { readonly problems: readonly Problem[] } => {
  const machine = dimms.length > 0 ? withNode(asked) : asked
  const sizes = machine.nodes?.map(node => node.memory) ?? []
  const total = machine.memory ?? sizes.reduce((sum, size) => sum + size, 0)
  const memory = { size: total, nodes: sizes, dimms }
  const nodeCpus = machine.nodes ? assignCpus(machine) : []
  const problems = [
    ...memoryProblems(asked, memory),
    ...startProblems(machine, memory),
    ...cpuProblems(machine, nodeCpus),
    ...packageProblems(machine),
  ]
  if (problems.length > 0) return { problems }
  const packages = machine.packages ?? defaultPackages(machine.cpus, nodeCpus)
  return { spec: { memory, cpus: machine.cpus, packages, nodeCpus } }
}

/**
 * QEMU gives a machine that takes DIMMs a node of its own accord
 * (auto_enable_numa_with_memhp, hw/core/numa.c); here it is said.
 */
const withNode = ({ memory, ...machine }: Machine): Machine =>
  machine.nodes || memory === undefined
    ? { ...machine, memory }
    : { ...machine, nodes: [{ memory }] }

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
    return [problem([], "expected 'memory' (for example 4G) or 'nodes'")]
  const at: DataPath = machine.nodes ? ['nodes'] : ['memory']
  if (memory.size < MIN_MEMORY)
    return [
      problem(
        at,
        `expected at least 512M of memory in all, found ${formatSize(memory.size)}`,
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
const startProblems = (machine: Machine, memory: MachineMemory): Problem[] => {
  const problems: Problem[] = []
  const placed = q35Srat(
    memory,
    memory.nodes.map(() => []),
  )
  machine.nodes?.forEach((node, i) => {
    if (node.start === undefined) return
    const asked = { start: node.start, end: node.start + node.memory }
    const other = placed.find(range => range.node < i && overlaps(range, asked))
    const actual = placed.find(range => range.node === i)?.start
    if (other)
      problems.push(
        problem(
          ['nodes', i, 'start'],
          `node ${i} at ${formatRange(asked)} overlaps node ${other.node} at ${formatRange(other)}`,
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

/** Nodes without a list share what the others left, in order. */
const assignCpus = ({ nodes = [], cpus }: Machine): number[][] => {
  const taken = new Set(nodes.flatMap(node => node.cpus ?? []))
  const free = Array.from({ length: cpus }, (_, cpu) => cpu).filter(
    cpu => !taken.has(cpu),
  )
  const open = nodes.filter(node => !node.cpus).length
  let share = 0
  return nodes.map(node => {
    if (node.cpus) return node.cpus
    const from = Math.floor((free.length * share) / open)
    const to = Math.floor((free.length * ++share) / open)
    return free.slice(from, to)
  })
}

const cpuProblems = (
  machine: Machine,
  nodeCpus: readonly (readonly number[])[],
): Problem[] => {
  const problems: Problem[] = []
  const owner = new Map<number, number>()
  nodeCpus.forEach((cpus, node) => {
    for (const cpu of cpus) {
      const other = owner.get(cpu)
      if (other !== undefined)
        problems.push(
          problem(
            ['nodes', node, 'cpus'],
            other === node
              ? `CPU ${cpu} is listed twice`
              : `CPU ${cpu} is on node ${other} and on node ${node}`,
          ),
        )
      else if (cpu >= machine.cpus)
        problems.push(
          problem(
            ['nodes', node, 'cpus'],
            `CPU ${cpu} does not exist: the machine has CPUs 0 to ${machine.cpus - 1}`,
          ),
        )
      owner.set(cpu, node)
    }
  })
  const homeless = Array.from({ length: machine.cpus }, (_, cpu) => cpu).filter(
    cpu => machine.nodes && !owner.has(cpu),
  )
  if (homeless.length > 0)
    problems.push(
      problem(['nodes'], `CPU ${homeless.join(', ')} is on no node`),
    )
  return problems
}

const packageProblems = ({ packages, cpus }: Machine): Problem[] =>
  packages !== undefined && cpus % packages !== 0
    ? [
        problem(
          ['packages'],
          `${cpus} CPUs cannot be spread evenly over ${packages} packages`,
        ),
      ]
    : []

/**
 * One package per node that has CPUs, when they split evenly and in order: on
 * other machines the kernel would see a package that spans nodes.
 */
const defaultPackages = (
  cpus: number,
  nodeCpus: readonly (readonly number[])[],
): number => {
  const withCpus = nodeCpus.filter(list => list.length > 0)
  const share = cpus / Math.max(1, withCpus.length)
  const even = withCpus.every(
    (list, node) =>
      list.length === share && list.every((cpu, i) => cpu === node * share + i),
  )
  if (even) return Math.max(1, withCpus.length)
  return cpus <= DEFAULT_PACKAGES_MAX ? cpus : 1
}
