import { join } from 'node:path'
import { InfraError, messageOf } from '../../base/errors.ts'
import { GIB, MIB } from '../../base/units.ts'
import { Emulation } from '../../emulate/emulation.ts'
import { GdbClient } from '../../machine/qemu/gdb.ts'
import { QemuProcess } from '../../machine/qemu/process.ts'
import { QmpClient } from '../../machine/qemu/qmp.ts'
import { Incoming } from '../../machine/qemu/sockets.ts'
import { NEWEST_SERIES } from '../../tdx/series/index.ts'
import type { Platform } from '../../tdx/platform.ts'
import { BootingGuest, type KnownKernel } from './booting-guest.ts'
import { UEFI } from './image.ts'
import type { SerialLine } from './serial-line.ts'

export interface MachineOptions {
  /** Private folder with a short path. */
  readonly directory: string
  /** Its disk, in a format of its own. */
  readonly disk: string
  /** Variables of its UEFI; undefined: it has a BIOS. */
  readonly uefiVariables: string | undefined
  /** Kernels that find a TDX module when they run there. */
  readonly kernels: readonly KnownKernel[]
  readonly sshPort: number
  readonly serial: SerialLine
  /** Called when the machine goes on or off. */
  readonly onPower: (state: 'on' | 'off') => void
  /** What went wrong with what stands in for the hardware. */
  readonly onTrouble: (text: string) => void
}

const CPUS = 2
const NODES = [2560 * MIB, 1536 * MIB] as const
/** q35 puts what is above behind the hole for devices (pc_q35_init()). */
const BELOW_4G = 2 * GIB
const MEMORY = NODES[0] + NODES[1]

const PLATFORM: Platform = {
  keyids: { mktme: 31, tdx: 32 },
  module: '1.5.05',
  x2apic: true,
  vmx: true,
  updatesLeft: 4,
  cmrs: [
    { start: MIB, end: BELOW_4G },
    { start: 4 * GIB, end: 4 * GIB + MEMORY - BELOW_4G },
  ],
  lps: CPUS,
  packageOf: [0, 1],
  physicalBits: 46,
  faults: [],
  vmxonFails: undefined,
  tdmrInitBytes: undefined,
  metadata: {},
}

/** A server without a BMC: what its power button, its hardware and its cables do. */
export class MadeMachine implements AsyncDisposable {
  readonly #options: MachineOptions
  #running: Running | undefined
  #switching: Promise<void> = Promise.resolve()

  constructor(options: MachineOptions) {
    this.#options = options
  }

  get isOn(): boolean {
    return this.#running !== undefined
  }

  on(): Promise<void> {
    return this.#after(async () => {
      this.#running ??= await start(this.#options, () => {
        this.#running = undefined
        this.#options.onPower('off')
      })
      this.#options.onPower('on')
    })
  }

  off(): Promise<void> {
    return this.#after(async () => {
      await this.#running?.qemu.kill()
      await this.#running?.ended
    })
  }

  /** Pulls the network cable, or plugs it in. */
  async cable(up: boolean): Promise<void> {
    await this.#now.qmp.execute('set_link', { name: 'net', up })
  }

  /** The kernel that runs does nothing any more. */
  hang(): Promise<void> {
    return this.#now.guest.hang()
  }

  get #now(): Running {
    if (!this.#running) throw new TypeError('the machine is off')
    return this.#running
  }

  #after(action: () => Promise<void>): Promise<void> {
    const done = this.#switching.then(action)
    this.#switching = done.catch(() => undefined)
    return done
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.off()
  }
}

interface Running {
  readonly qemu: QemuProcess
  readonly qmp: QmpClient
  readonly guest: BootingGuest
  /** QEMU and its sockets are gone. */
  readonly ended: Promise<void>
}

let started = 0

const start = async (
  options: MachineOptions,
  onEnd: () => void,
): Promise<Running> => {
  const { directory, serial, kernels, onTrouble } = options
  // QEMU that was killed has left its sockets behind.
  const socket = (name: string): string => join(directory, `${name}${started}`)
  started++
  const paths = { gdb: socket('g'), qmp: socket('q'), serial: socket('s') }
  const gdb = await Incoming.listen(paths.gdb)
  const control = await Incoming.listen(paths.qmp)
  const line = await Incoming.listen(paths.serial)
  const argv = machineArgv(options, paths)
  const qemu = new QemuProcess(argv, directory)
  const failed = qemu.exit.then(({ stderr }) => {
    throw new TypeError(`QEMU ended: ${stderr}`)
  })
  failed.catch(() => undefined)
  serial.attach(await Promise.race([line.connection, failed]))
  const qmp = new QmpClient(await control.connection)
  const guest = new BootingGuest(
    await GdbClient.attach(await gdb.connection, CPUS),
    kernels,
  )
  void watchResets(qmp, guest)
  const emulated = emulate(guest).catch((error: unknown) => {
    const wasOff = error instanceof InfraError && error.code === 'GDB_CLOSED'
    if (!wasOff) onTrouble(`the emulation ended: ${messageOf(error)}`)
  })
  const ended = qemu.exit.then(async ({ stderr }) => {
    if (stderr !== '') onTrouble(stderr)
    await emulated
    for (const incoming of [gdb, control, line])
      await incoming[Symbol.asyncDispose]()
    onEnd()
  })
  return { qemu, qmp, guest, ended }
}

const watchResets = async (
  qmp: QmpClient,
  guest: BootingGuest,
): Promise<void> => {
  const closed = qmp.closed.then(() => undefined)
  while (
    await Promise.race([qmp.next(({ event }) => event === 'RESET'), closed])
  )
    guest.reset()
}

/** Each kernel finds the module as the firmware has loaded it. */
const emulate = async (guest: BootingGuest): Promise<void> => {
  for (;;) {
    const kernel = await guest.nextKernel()
    if (!kernel) return
    await new Emulation({
      guest,
      kernel: kernel.sites,
      platform: PLATFORM,
      ledger: undefined,
      late: true,
      map: undefined,
      followsKexec: false,
      onActivity: () => undefined,
      onUnanswered: () => undefined,
      leavesBeforeList: NEWEST_SERIES.leavesBeforeList,
    }).run()
  }
}

/** The CPU of the rig's own machines, and what Debian's userland stumbles over. */
const CPU = [
  'max',
  'vendor=GenuineIntel',
  'family=6',
  'model=143',
  'stepping=8',
  'phys-bits=46',
  'check=off',
  'vmx=on',
  // Not svm=off: with it systemd's mount namespaces failed (QEMU 7.2).
  'movdir64b=on',
  'x-force-features=on',
  'invtsc=on',
].join(',')

const machineArgv = (
  { disk, uefiVariables, sshPort }: MachineOptions,
  paths: {
    readonly gdb: string
    readonly qmp: string
    readonly serial: string
  },
): string[] => {
  const client = (id: string, path: string): string[] => [
    '-chardev',
    `socket,id=${id},path=${path},server=off`,
  ]
  return [
    'qemu-system-x86_64',
    '-S',
    '-nodefaults',
    '-no-user-config',
    '-display',
    'none',
    '-machine',
    'q35',
    '-accel',
    'tcg',
    '-cpu',
    CPU,
    '-smp',
    `cpus=${CPUS},sockets=2,cores=1`,
    '-m',
    `${MEMORY / MIB}M`,
    ...NODES.flatMap((size, node) => [
      '-object',
      `memory-backend-ram,id=ram${node},size=${size},reserve=off`,
      '-numa',
      `node,nodeid=${node},memdev=ram${node},cpus=${node}`,
    ]),
    ...(uefiVariables === undefined
      ? []
      : [
          '-drive',
          `if=pflash,format=raw,readonly=on,file=${UEFI.code}`,
          '-drive',
          `if=pflash,format=raw,file=${uefiVariables}`,
        ]),
    '-drive',
    `file=${disk},format=qcow2,if=virtio,cache=unsafe`,
    // It reaches nobody, and is reached by ssh alone.
    '-netdev',
    `user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:${sshPort}-:22`,
    '-device',
    'virtio-net-pci,netdev=net',
    '-device',
    'i6300esb',
    '-action',
    'watchdog=reset',
    ...client('serial', paths.serial),
    '-serial',
    'chardev:serial',
    ...client('gdb', paths.gdb),
    '-gdb',
    'chardev:gdb',
    ...client('qmp', paths.qmp),
    '-mon',
    'chardev=qmp,mode=control',
  ]
}
