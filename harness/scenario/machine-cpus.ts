import type { DataPath } from '../base/yaml-file.ts'
import type { Srat } from '../memory/srat.ts'
import type { Problem } from './problem.ts'
import type { Cell } from './schema.ts'

/** tot_num_sockets of the TDX module never exceeds MAX_PKGS. */
const DEFAULT_PACKAGES_MAX = 8

type Machine = Cell['machine']

const problem = (at: DataPath, message: string): Problem => ({
  at: ['machine', ...at],
  message,
})

/** CPUs of each proximity domain, in the order of the table. */
export const cpusByDomain = ({ cpus }: Srat): number[][] => {
  const domains = new Map<number, number[]>()
  for (const { cpu, domain } of cpus)
    domains.set(domain, [...(domains.get(domain) ?? []), cpu])
  return [...domains.values()]
}

/** Nodes without a list share what the others left, in order. */
export const assignCpus = ({ nodes = [], cpus }: Machine): number[][] => {
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

export const cpuProblems = (
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
  const uncovered = Array.from(
    { length: machine.cpus },
    (_, cpu) => cpu,
  ).filter(cpu => machine.nodes && !owner.has(cpu))
  if (uncovered.length > 0)
    problems.push(
      problem(['nodes'], `CPU ${uncovered.join(', ')} is on no node`),
    )
  return problems
}

export const packageProblems = ({ packages, cpus }: Machine): Problem[] =>
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
export const defaultPackages = (
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
