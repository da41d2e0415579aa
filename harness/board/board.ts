import { UsageError } from '../base/errors.ts'
import type { E820Entry } from '../memory/e820.ts'
import type { Range } from '../memory/range.ts'
import type { Srat } from '../memory/srat.ts'

/** What of a machine decides where its RAM lies. */
export interface MachineMemory {
  /** Total RAM, in bytes. */
  readonly size: number
  /** RAM of each NUMA node in order; empty for a machine without SRAT. */
  readonly nodes: readonly number[]
  /** Sizes of the DIMMs that can be plugged while it runs. */
  readonly dimms: readonly number[]
}

/** What of a machine decides where its firmware's tables lie. */
export interface BoardMachine {
  readonly memory: MachineMemory
  readonly packages: number
}

/** The memory a board gives a machine, and what its firmware says about it. */
export interface BoardModel {
  /** Where RAM is, whatever the firmware says about it; ascending. */
  ramRanges(memory: MachineMemory): Range[]
  /** Where the firmware's tables are in RAM. */
  firmwareTables(machine: BoardMachine): Range
  /** The firmware's e820 map, as a kernel sees it that is started directly. */
  firmwareMap(machine: BoardMachine): E820Entry[]
  /**
   * The SRAT of its firmware; undefined for a machine without nodes.
   *
   * @param nodeCpus CPUs of each node, by node
   */
  srat(
    memory: MachineMemory,
    nodeCpus: readonly (readonly number[])[],
  ): Srat | undefined
  /** Where DIMMs can be plugged; undefined on a machine that takes none. */
  dimmRoom(memory: MachineMemory): Range | undefined
  /** Where each DIMM appears when it is plugged. */
  dimmRanges(memory: MachineMemory): Range[]
  /** Memory of the smallest machine that has RAM for every usable range. */
  memoryFor(e820: readonly E820Entry[]): number
}

/**
 * What stands under a kernel. A new board is one more file in this folder, and
 * one more row in index.ts.
 */
export interface Board {
  /** As results and bundles spell it. */
  readonly id: string
  /** For people. */
  readonly title: string
  /** How QEMU builds it; undefined: it is no board of QEMU. */
  readonly qemu:
    | {
        /** The first version that it was tried with: major and minor. */
        readonly version: readonly [number, number]
        /** `-machine`: the version fixes the firmware's tables. */
        readonly machineType: string
        /** What follows it there; each begins with a comma. */
        readonly options: string
      }
    | undefined
  /** Undefined: memory and firmware are as they are found. */
  readonly model: BoardModel | undefined
  /** A machine that is there already; undefined: scenarios describe theirs. */
  readonly found?: FoundMachine
}

/** What a physical machine is, read from it. */
export interface FoundMachine {
  /** The firmware's map. */
  readonly e820: readonly E820Entry[]
  /** Undefined: its firmware has none. */
  readonly srat: Srat | undefined
  readonly cpus: number
  /** Package of each CPU, by index. */
  readonly packageOf: readonly number[]
  /** CPUs of each node, by the kernel's number of the node. */
  readonly nodeCpus: readonly (readonly number[])[]
  /** Undefined: no kernel printed them; what most machines have is assumed. */
  readonly keyids: { readonly mktme: number; readonly tdx: number } | undefined
  /** Undefined: no kernel printed them; all memory is taken for convertible. */
  readonly cmrs: readonly Range[] | undefined
}

/** @throws UsageError for a board whose memory is not known beforehand */
export const modelOf = ({ id, title, model }: Board): BoardModel => {
  if (model) return model
  throw new UsageError(
    'BOARD',
    `the memory of the board '${id}' (${title}) is not known before it is booted: use a board with a model`,
  )
}
