import { join } from 'node:path'
import { CPU_MODELS } from '../../scenario/cpu-models.ts'
import { InfraError } from '../../base/errors.ts'
import type { Board } from '../../board/board.ts'
import type { MachineSpec } from '../../scenario/machine-spec.ts'
import type { Dimm } from '../../scenario/steps.ts'
import {
  RIG_WORDS,
  TCG_WORDS,
  hibernationWords,
} from '../../scenario/rig-words.ts'
import type { BootableKernel } from '../machine.ts'

export type Accel = 'tcg' | 'kvm'

/** What stands behind the memory of a guest. */
export type GuestMemory =
  /** Pages of the process, as they are touched. */
  | { readonly kind: 'own' }
  /** The same, in files that have no name: a snapshot is taken of them. */
  | { readonly kind: 'shared' }
  /** Files of a snapshot in a folder; what is written stays in the process. */
  | { readonly kind: 'snapshot'; readonly folder: string }

/** What becomes a QEMU command line. */
export interface QemuPlan {
  readonly binary: string
  readonly accel: Accel
  readonly machine: MachineSpec
  readonly guestMemory: GuestMemory
  readonly physicalBits: number
  /**
   * Whether the CPU has VMX, for a kernel that turns it on itself; undefined
   * for all others.
   */
  readonly vmx: boolean | undefined
  /** The kernel changes its own code while it runs. */
  readonly patchesItself: boolean
  /** vmlinux with PVH, or bzImage. */
  readonly kernel: string
  readonly initramfs: string
  readonly cmdline: string
  /** File the guest's console is written to. */
  readonly consolePath: string
  /** QEMU stays when the guest has powered off, for whoever looks at it. */
  readonly stays: boolean
  /** Unix sockets on which we listen; QEMU connects to them. */
  readonly gdbSocket: string
  readonly qmpSocket: string
  /** For the guest's second serial port; undefined when it has none. */
  readonly answersSocket: string | undefined
  /** Memory devices that are there from the start, with nothing in them. */
  readonly memoryDevices?: readonly Dimm[]
  /** File with a SRAT; undefined: QEMU makes its own. */
  readonly srat: string | undefined
}

export const kernelCmdline = (
  accel: Accel,
  kernel: Pick<BootableKernel, 'hibernates'>,
  words: readonly string[],
): string =>
  [
    ...RIG_WORDS.map(({ word }) => word),
    ...(accel === 'tcg' ? TCG_WORDS : []),
    ...hibernationWords(kernel, words),
    ...words,
  ].join(' ')

/**
 * TCG's `max` is an AMD part; by family and model the kernel sees a CPU that
 * has TDX, with the 46 physical address bits that TDX leaves there.
 */
const cpuModel = (
  accel: Accel,
  { cpuModel: name }: MachineSpec,
  { physicalBits, vmx }: Pick<QemuPlan, 'physicalBits' | 'vmx'>,
): string => {
  if (accel === 'kvm') return 'host'
  const { family, model, stepping } = CPU_MODELS[name]
  return [
    'max',
    'vendor=GenuineIntel',
    `family=${family}`,
    `model=${model}`,
    `stepping=${stepping}`,
    `phys-bits=${physicalBits}`,
    ...(vmx === undefined ? [] : [...FOR_VMX, `vmx=${vmx ? 'on' : 'off'}`]),
  ].join(',')
}

/**
 * What kernels that turn VMX on look for. TCG filters out what it does not
 * emulate unless it is forced to claim it; the emulation answers for it.
 * SVM is hidden: a CPU that claims both has neither (x86_virt_init(),
 * arch/x86/virt/hw.c). invtsc: secondary CPUs take the speed of the TSC from
 * the first one. tsc_adjust: Linux then trusts the TSC, and runs no watchdog
 * for it, in which TCG was seen to hang once in some hundred boots.
 */
const FOR_VMX: readonly string[] = [
  'check=off',
  'x-force-features=on',
  'svm=off',
  'movdir64b=on',
  'invtsc=on',
  'tsc_adjust=on',
]

const machineType = ({ id, qemu }: Board): string => {
  if (qemu) return qemu.machineType + qemu.options
  throw new InfraError('BOARD', `QEMU cannot build the board '${id}'`)
}

/** QEMU reads a comma in a value as the end of it, unless it is doubled. */
const quote = (value: string): string => value.replaceAll(',', ',,')

/**
 * With a thread for each CPU, TCG may execute the int3 of a static key that was
 * patched already: 3 of 143 boots of Debian's 6.12.100 ended in that oops under
 * QEMU 7.2, and none of 60 with one thread for all CPUs.
 */
const accelerator = ({
  accel,
  patchesItself,
}: Pick<QemuPlan, 'accel' | 'patchesItself'>): string =>
  accel === 'tcg' && patchesItself ? 'tcg,thread=single' : accel

/** The QEMU command line: program and arguments, nothing for a shell. */
export const qemuArgv = (plan: QemuPlan): string[] => {
  const { accel, machine } = plan
  return [
    plan.binary,
    '-nodefaults',
    '-no-user-config',
    '-display',
    'none',
    '-no-reboot',
    ...(plan.stays ? ['-no-shutdown'] : []),
    // A fixed version: the firmware's tables, and so the memory map, depend on
    // it.
    '-machine',
    machineType(machine.board),
    '-accel',
    accelerator(plan),
    '-cpu',
    cpuModel(accel, machine, plan),
    '-smp',
    topology(machine),
    ...memoryArguments(machine, plan.guestMemory),
    ...(plan.memoryDevices ?? []).flatMap(virtioMem),
    ...(plan.srat === undefined
      ? []
      : ['-acpitable', `file=${quote(plan.srat)}`]),
    '-kernel',
    plan.kernel,
    '-initrd',
    plan.initramfs,
    '-append',
    plan.cmdline,
    '-chardev',
    // Of a snapshot the beginning is there already.
    `file,id=console,path=${quote(plan.consolePath)}${plan.guestMemory.kind === 'snapshot' ? ',append=on' : ''}`,
    '-serial',
    'chardev:console',
    ...(plan.answersSocket === undefined
      ? []
      : [
          '-chardev',
          client('answers', plan.answersSocket),
          '-serial',
          'chardev:answers',
        ]),
    // Stopped until the debugger lets it go.
    '-S',
    '-chardev',
    client('gdb', plan.gdbSocket),
    '-gdb',
    'chardev:gdb',
    '-chardev',
    client('qmp', plan.qmpSocket),
    '-mon',
    'chardev=qmp,mode=control',
    ...(plan.guestMemory.kind === 'snapshot' ? ['-incoming', 'defer'] : []),
  ]
}

/** A slot of PCI cannot be plugged on q35's root bus; memory can be requested. */
const virtioMem = ({ name, node, range }: Dimm): string[] => [
  '-object',
  `memory-backend-ram,id=memory-${name},size=${range.end - range.start},reserve=off`,
  '-device',
  `virtio-mem-pci,id=dimm-${name},memdev=memory-${name},node=${node},memaddr=${range.start},requested-size=0`,
]

const client = (id: string, path: string): string =>
  `socket,id=${id},path=${quote(path)},server=off`

/**
 * The APIC ID of each CPU: its package above as many bits as the cores of one
 * need (x86_apicid_from_cpu_idx(), include/hw/i386/topology.h).
 */
export const apicIds = ({ cpus, packages }: MachineSpec): number[] => {
  const cores = cpus / packages
  const width = Math.ceil(Math.log2(cores))
  return Array.from(
    { length: cpus },
    (_, cpu) => (Math.floor(cpu / cores) << width) | (cpu % cores),
  )
}

const topology = ({ cpus, packages }: MachineSpec): string =>
  `cpus=${cpus},sockets=${packages},cores=${cpus / packages},threads=1`

/** With a slot for each DIMM that can be plugged, and room for all of them. */
const memorySize = ({ size, dimms }: MachineSpec['memory']): string => {
  const now = `${size / 1024}k`
  const max = dimms.reduce((sum, dimm) => sum + dimm, size) / 1024
  return dimms.length === 0
    ? now
    : `size=${now},slots=${dimms.length},maxmem=${max}k`
}

/**
 * Nodes with their memory and CPUs. `reserve=off`: a large machine may have
 * more memory than the host, as long as the guest does not touch it.
 */
const memoryArguments = (
  machine: MachineSpec,
  guestMemory: GuestMemory,
): string[] => {
  const { memory, nodeCpus } = machine
  const total = ['-m', memorySize(memory)]
  const backend = (id: string, size: number): string[] => [
    '-object',
    `${backendOf(guestMemory, id)},id=${id},size=${size},reserve=off`,
  ]
  if (memory.nodes.length === 0)
    return [
      ...total,
      ...backend('ram', memory.size),
      '-machine',
      'memory-backend=ram',
    ]
  const perPackage = machine.cpus / machine.packages
  return [
    ...total,
    ...memory.nodes.flatMap((size, node) => [
      ...(size > 0 ? backend(`ram${node}`, size) : []),
      '-numa',
      `node,nodeid=${node}${size > 0 ? `,memdev=ram${node}` : ''}`,
    ]),
    ...nodeCpus.flatMap((cpus, node) =>
      cpus.flatMap(cpu => [
        '-numa',
        `cpu,node-id=${node},socket-id=${Math.floor(cpu / perPackage)},core-id=${cpu % perPackage},thread-id=0`,
      ]),
    ),
  ]
}

/** Pieces of the memory of a machine. */
export interface MemoryBackend {
  readonly id: string
  /** In bytes. */
  readonly size: number
}

/** In the order in which QEMU makes them. */
export const memoryBackends = ({
  memory: { size, nodes },
}: Pick<MachineSpec, 'memory'>): MemoryBackend[] =>
  nodes.length === 0
    ? [{ id: 'ram', size }]
    : nodes.flatMap((size, node) =>
        size > 0 ? [{ id: `ram${node}`, size }] : [],
      )

const backendOf = (memory: GuestMemory, id: string): string => {
  switch (memory.kind) {
    case 'own':
      return 'memory-backend-ram'
    case 'shared':
      return 'memory-backend-memfd,share=on'
    case 'snapshot':
      return `memory-backend-file,share=off,mem-path=${quote(join(memory.folder, id))}`
  }
}
