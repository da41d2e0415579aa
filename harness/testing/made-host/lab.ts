import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import { stringify } from 'yaml'
import type { Workspace } from '../../run/workspace.ts'
import { realKernels } from '../real-boots.ts'
import { Bmc } from './bmc.ts'
import { type KnownKernel, knownKernel } from './booting-guest.ts'
import { type HostImage, UEFI, hostImage } from './image.ts'
import { MadeMachine } from './machine.ts'
import { SerialLine } from './serial-line.ts'

export interface LabOptions {
  /** Names: one host for each. */
  readonly hosts: readonly string[]
  /** Recipes of further kernels that find a TDX module when a host boots them. */
  readonly alsoKnown?: readonly string[]
  /** UEFI and systemd-boot, instead of a BIOS and GRUB. */
  readonly uefi?: boolean
  /** Private folder with a short path. */
  readonly directory: string
  readonly workspace: Workspace
}

/** The kernel that made hosts run by default, and that finds a TDX module there. */
export const HOST_KERNEL = 'mainline-7.3-server'

/** Made hosts with their BMCs, and what one has to know to reach them. */
export class Lab implements AsyncDisposable {
  readonly directory: string
  /** An ssh configuration with all of them. */
  readonly sshConfig: string
  readonly inventory: string
  readonly #hosts: ReadonlyMap<string, MadeHost>

  private constructor(directory: string, hosts: readonly MadeHost[]) {
    this.directory = directory
    this.sshConfig = join(directory, 'ssh_config')
    this.inventory = join(directory, 'hosts.yaml')
    this.#hosts = new Map(hosts.map(host => [host.name, host]))
  }

  /** Puts hosts up; they are off. */
  static async create(options: LabOptions): Promise<Lab> {
    const { directory, workspace, alsoKnown = [], uefi = false } = options
    const prepared = await realKernels([HOST_KERNEL, ...alsoKnown], workspace)
    const kernels = [...prepared.values()]
    const image = await hostImage(kernels[0]!)
    const known = await Promise.all(
      kernels.map(kernel => knownKernel(kernel.image)),
    )
    const hosts: MadeHost[] = []
    for (const name of options.hosts) {
      const folder = join(directory, name)
      await mkdir(folder, { mode: 0o700 })
      hosts.push(
        await MadeHost.create({ name, folder, image, kernels: known, uefi }),
      )
    }
    const lab = new Lab(directory, hosts)
    await writeFile(
      join(directory, 'known_hosts'),
      hosts.map(host => host.knownHost(image)).join(''),
    )
    await writeFile(
      lab.sshConfig,
      hosts
        .map(host => host.sshEntry(image, join(directory, 'known_hosts')))
        .join(''),
    )
    await writeFile(
      lab.inventory,
      stringify({
        sshConfig: 'ssh_config',
        hosts: hosts.map(({ entry }) => entry),
      }),
    )
    return lab
  }

  host(name: string): MadeHost {
    const host = this.#hosts.get(name)
    if (!host) throw new TypeError(`there is no made host ${name}`)
    return host
  }

  get hosts(): MadeHost[] {
    return [...this.#hosts.values()]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of this.hosts) await host[Symbol.asyncDispose]()
  }
}

interface MadeHostOptions {
  readonly name: string
  readonly folder: string
  readonly image: HostImage
  readonly kernels: readonly KnownKernel[]
  readonly uefi: boolean
}

/** A server made here: machine, BMC, serial line. */
export class MadeHost implements AsyncDisposable {
  readonly name: string
  readonly machine: MadeMachine
  readonly bmc: Bmc
  readonly serial: SerialLine
  /** What the inventory says of it. */
  readonly entry: Readonly<Record<string, unknown>>
  /** What went wrong with what stands in for the hardware. */
  readonly troubles: readonly string[]
  readonly #folder: string
  readonly #sshPort: number

  private constructor(
    { name, folder, uefi }: MadeHostOptions,
    parts: Pick<MadeHost, 'machine' | 'bmc' | 'serial' | 'troubles'> & {
      readonly sshPort: number
    },
  ) {
    this.name = name
    this.machine = parts.machine
    this.bmc = parts.bmc
    this.serial = parts.serial
    this.troubles = parts.troubles
    this.#folder = folder
    this.#sshPort = parts.sshPort
    this.entry = {
      name,
      ssh: name,
      boot: uefi ? { 'systemd-boot': {} } : { grub: {} },
      power: {
        ipmi: {
          address: '127.0.0.1',
          port: this.bmc.port,
          user: this.bmc.user,
          passwordFile: this.bmc.passwordFile,
        },
      },
      console: { 'ipmi-sol': {} },
      deadline: '3m',
    }
  }

  static async create(options: MadeHostOptions): Promise<MadeHost> {
    const { folder, image, kernels, uefi } = options
    const disk = join(folder, 'disk.qcow2')
    await execa('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-b',
      image.disk,
      '-F',
      'raw',
      disk,
    ])
    const uefiVariables = uefi ? join(folder, 'uefi-variables') : undefined
    if (uefiVariables !== undefined)
      await copyFile(UEFI.variables, uefiVariables)
    const [sshPort, serialPort, bmcPort] = await freePorts(3)
    const serial = await SerialLine.open(serialPort!, join(folder, 'serial'))
    const troubles: string[] = []
    const machine: MadeMachine = new MadeMachine({
      directory: folder,
      disk,
      uefiVariables,
      kernels,
      sshPort: sshPort!,
      serial,
      onPower: state => void bmc.tell(state),
      onTrouble: text => troubles.push(text),
    })
    const bmc: Bmc = await Bmc.start({
      directory: folder,
      port: bmcPort!,
      serialPort: serialPort!,
      onPower: state => void (state === 'on' ? machine.on() : machine.off()),
    })
    return new MadeHost(options, {
      machine,
      bmc,
      serial,
      troubles,
      sshPort: sshPort!,
    })
  }

  knownHost({ hostKey }: HostImage): string {
    return `[127.0.0.1]:${this.#sshPort} ${hostKey}\n`
  }

  sshEntry({ key }: HostImage, knownHosts: string): string {
    return [
      `Host ${this.name} ci-${this.name}`,
      '  HostName 127.0.0.1',
      `  Port ${this.#sshPort}`,
      `  IdentityFile ${key}`,
      '  IdentitiesOnly yes',
      `  UserKnownHostsFile ${knownHosts}`,
      `Host ${this.name}`,
      '  User root',
      `Host ci-${this.name}`,
      '  User ci',
      '',
    ].join('\n')
  }

  /** What an administrator does there by hand. */
  async shell(command: string): Promise<string> {
    const { stdout } = await execa('ssh', [
      '-F',
      join(this.#folder, '..', 'ssh_config'),
      '-o',
      'BatchMode=yes',
      '-o',
      'ConnectTimeout=10',
      this.name,
      command,
    ])
    return stdout
  }

  /** Switches it on, and waits for its login prompt. */
  async up(): Promise<void> {
    const from = this.serial.text.length
    await this.machine.on()
    await this.serial.printed('login:', from)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine[Symbol.asyncDispose]()
    await this.bmc[Symbol.asyncDispose]()
    await this.serial[Symbol.asyncDispose]()
  }
}

/** Ports nobody listens on now. */
const freePorts = async (count: number): Promise<number[]> => {
  const servers = Array.from({ length: count }, () => createServer())
  const ports = await Promise.all(
    servers.map(
      server =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject)
          server.listen(0, '127.0.0.1', () => {
            const address = server.address()
            resolve(typeof address === 'object' ? (address?.port ?? 0) : 0)
          })
        }),
    ),
  )
  await Promise.all(
    servers.map(server => new Promise(resolve => server.close(resolve))),
  )
  return ports
}
