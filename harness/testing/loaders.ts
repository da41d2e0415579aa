import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import type { Test } from 'tap'
import { shellLine } from '../base/shell.ts'
import { buildKernel } from '../kernel/build.ts'
import { loadRecipe } from '../kernel/recipe.ts'
import { ConsoleTail } from '../machine/qemu/console-tail.ts'
import { shortFolder } from './cli.ts'
import { UEFI } from './made-host/image.ts'

/**
 * Real boot loaders, each in a machine of its own that is ended as soon as the
 * kernel has printed its command line.
 */

/** Where a kernel prints before it has a console. */
const EARLY = ['earlyprintk=ttyS0', 'console=ttyS0']

/** Words that are there besides those that are looked at. */
export const withConsole = (words: readonly string[]): string[] => [
  ...EARLY,
  ...words,
]

/** Those words alone. */
export const withoutConsole = (cmdline: string): string =>
  cmdline
    .replace(/^BOOT_IMAGE=\S* /, '')
    .replace(`${EARLY.join(' ')} `, '')
    .trim()

const MACHINE = [
  '-machine',
  'q35',
  '-accel',
  'tcg',
  '-m',
  '512',
  '-nodefaults',
  '-no-reboot',
  '-display',
  'none',
]

const COMMAND_LINE = /Command line: (.*?)\r?\n/

/** What the kernel prints as its command line. */
const commandLine = (t: Test, args: readonly string[]): Promise<string> =>
  said(t, COMMAND_LINE, qemu(args))

interface Started extends PromiseLike<unknown> {
  readonly kill: (signal: NodeJS.Signals) => boolean
}

/**
 * The first group of what is waited for. QEMU writes to a file, since sockets
 * lose characters where nobody reads in time (ConsoleTail says why).
 *
 * @param start begins a machine that writes its console to that file
 */
const said = async (
  t: Test,
  wanted: RegExp,
  start: (console: string) => Started,
): Promise<string> => {
  let tail: ConsoleTail | undefined
  const text = (): string => readFileSync(tail!.consolePath, 'utf8')
  const found = new Promise<string>((resolve, reject) => {
    tail = new ConsoleTail({
      directory: shortFolder(t),
      start: performance.now(),
      onBytes: () => {
        const [, one] = wanted.exec(text()) ?? []
        if (one !== undefined) resolve(one)
      },
      onError: reject,
    })
  })
  const machine = start(tail!.consolePath)
  // libvirt ends its QEMU when it is told to end, and only then.
  const end = async (): Promise<void> => {
    machine.kill('SIGTERM')
    await machine
  }
  t.teardown(async () => {
    await end()
    tail?.[Symbol.dispose]()
  })
  const one = await Promise.race([found, machine.then(() => undefined)])
  await end()
  if (one !== undefined) return one
  throw new Error(
    `expected ${wanted.source}, and it did not come; the end of what did: ${text().slice(-2000)}`,
  )
}

/** What QEMU itself says must not come into the middle of a line. */
const OUTPUT = {
  stdin: 'ignore',
  stdout: 'ignore',
  stderr: 'inherit',
  reject: false,
} as const

const qemu =
  (args: readonly string[]) =>
  (console: string): Started =>
    execa(
      'qemu-system-x86_64',
      [...MACHINE, '-serial', `file:${console}`, ...args],
      OUTPUT,
    )

const kernelOf = async (name: string): Promise<string> => {
  const { bzImage } = await buildKernel(await loadRecipe(name), {
    onProgress: () => undefined,
  })
  if (bzImage === undefined) throw new Error(`${name} has no bzImage`)
  return bzImage
}

/** A disk of files in a FAT file system. */
const fatDisk = async (
  folder: string,
  files: Readonly<Record<string, { readonly from: string } | string>>,
): Promise<string> => {
  const root = join(folder, 'root')
  for (const [name, content] of Object.entries(files)) {
    const path = join(root, name)
    mkdirSync(dirname(path), { recursive: true })
    if (typeof content === 'string') writeFileSync(path, content)
    else cpSync(content.from, path)
  }
  const disk = join(folder, 'disk.img')
  await execa('truncate', ['--size', '128M', disk])
  await execa('mkfs.vfat', [disk])
  await execa('mcopy', ['-i', disk, '-s', '-Q', ...readdirSync(root), '::/'], {
    cwd: root,
  })
  return disk
}

const diskArgs = (disk: string): string[] => [
  '-drive',
  `format=raw,file=${disk}`,
]

/** Modules of GRUB that it needs to load a kernel from such a disk. */
const GRUB_MODULES = ['biosdisk', 'fat', 'normal', 'linux', 'configfile']
const GRUB_PC = '/usr/lib/grub/i386-pc'

/** GRUB 2 of Debian, started as a kernel is (lnxboot.img). */
export const throughGrub = async (
  t: Test,
  arguments_: string,
): Promise<string> => {
  const folder = shortFolder(t)
  const disk = await fatDisk(folder, {
    vmlinuz: { from: await kernelOf('mainline-7.3') },
    'grub.cfg': `linux (hd0)/vmlinuz ${arguments_}\nboot\n`,
  })
  const config = join(folder, 'first.cfg')
  writeFileSync(config, 'configfile (hd0)/grub.cfg\n')
  const core = join(folder, 'core.img')
  await execa('grub-mkimage', [
    '--format=i386-pc',
    `--output=${core}`,
    '--prefix=(hd0)/',
    `--config=${config}`,
    ...GRUB_MODULES,
  ])
  const image = join(folder, 'grub.lkrn')
  writeFileSync(
    image,
    Buffer.concat([
      readFileSync(join(GRUB_PC, 'lnxboot.img')),
      readFileSync(core),
    ]),
  )
  return commandLine(t, ['-kernel', image, ...diskArgs(disk)])
}

const SCRIPT = '/etc/grub.d/10_linux'

/** What Debian's 10_linux makes of a default file, taken to GRUB. */
export const throughGrubDefault = async (
  t: Test,
  defaults: string,
): Promise<string> => {
  const folder = shortFolder(t)
  const boot = join(folder, 'boot')
  mkdirSync(boot)
  cpSync(await kernelOf('mainline-7.3'), join(boot, 'vmlinuz-7.3'))
  // It looks into /boot, and asks grub-probe about devices that are not here.
  writeFileSync(
    join(folder, '10_linux'),
    readFileSync(SCRIPT, 'utf8').replaceAll('/boot/', `${boot}/`),
  )
  writeFileSync(join(folder, 'probe'), '#!/bin/sh\necho none\n', {
    mode: 0o755,
  })
  writeFileSync(join(folder, 'default'), defaults)
  const { stdout } = await execa(
    'sh',
    [
      '-c',
      'set -a; . ./default; pkgdatadir=/usr/share/grub; grub_probe=$PWD/probe; GRUB_DEVICE=/dev/none; GRUB_DEVICE_BOOT=/dev/none; GRUB_DEVICE_UUID=none; set +a; sh ./10_linux',
    ],
    { cwd: folder },
  )
  const [, found] = /^\s*linux\s+\S+ root=\S+ ro +(.*)$/m.exec(stdout) ?? []
  if (found === undefined) throw new Error(`no entry in:\n${stdout}`)
  return throughGrub(t, found)
}

const SYSTEMD_BOOT = '/usr/lib/systemd/boot/efi/systemd-bootx64.efi'

/** systemd-boot, started by the firmware of a machine with UEFI. */
export const throughSystemdBoot = async (
  t: Test,
  options: string,
): Promise<string> => {
  const folder = shortFolder(t)
  const disk = await fatDisk(folder, {
    'EFI/BOOT/BOOTX64.EFI': { from: SYSTEMD_BOOT },
    vmlinuz: { from: await kernelOf('mainline-7.3-server') },
    'loader/loader.conf': 'timeout 0\ndefault one.conf\n',
    'loader/entries/one.conf': `title one\nlinux /vmlinuz\n${options}\n`,
  })
  const variables = join(folder, 'vars.fd')
  cpSync(UEFI.variables, variables)
  const flash = (path: string, more = ''): string[] => [
    '-drive',
    `if=pflash,format=raw,file=${path}${more}`,
  ]
  return commandLine(t, [
    ...flash(UEFI.code, ',readonly=on'),
    ...flash(variables),
    ...diskArgs(disk),
  ])
}

/** A machine that boots what the network of QEMU itself gives it. */
const fromNetwork = async (
  t: Test,
  first: string,
  files: Readonly<Record<string, { readonly from: string } | string>>,
): Promise<string> => {
  const folder = shortFolder(t)
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name)
    mkdirSync(dirname(path), { recursive: true })
    if (typeof content === 'string') writeFileSync(path, content)
    else cpSync(content.from, path)
  }
  return commandLine(t, [
    '-netdev',
    `user,id=net,restrict=on,tftp=${folder},bootfile=${first}`,
    '-device',
    'e1000e,netdev=net,bootindex=0',
  ])
}

/** iPXE, as it is in the network card of QEMU. */
export const throughIpxe = async (t: Test, words: string): Promise<string> =>
  fromNetwork(t, 'first.ipxe', {
    vmlinuz: { from: await kernelOf('mainline-7.3') },
    'first.ipxe': `#!ipxe\nkernel tftp://10.0.2.2/vmlinuz ${words}\nboot\n`,
  })

const PXELINUX = '/usr/lib/PXELINUX/pxelinux.0'
const SYSLINUX_MODULE = '/usr/lib/syslinux/modules/bios/ldlinux.c32'

export const throughSyslinux = async (
  t: Test,
  append: string,
): Promise<string> =>
  fromNetwork(t, 'pxelinux.0', {
    vmlinuz: { from: await kernelOf('mainline-7.3') },
    'pxelinux.0': { from: PXELINUX },
    'ldlinux.c32': { from: SYSLINUX_MODULE },
    'pxelinux.cfg/default': `DEFAULT one\nLABEL one\n  LINUX vmlinuz\n  ${append}\n`,
  })

/** @param option as a shell takes it */
export const throughQemu = async (t: Test, option: string): Promise<string> => {
  const { stdout } = await execa('sh', ['-c', `printf '%s\\0' ${option}`])
  const [name = '', value = ''] = stdout.split('\0')
  return commandLine(t, [
    '-kernel',
    await kernelOf('mainline-7.3'),
    name,
    value,
  ])
}

const VIRT_QEMU_RUN = '/usr/bin/virt-qemu-run'

/** Of Debian, which wants a user of its own when root runs it. */
const NOBODY = 65_534

/**
 * libvirt's driver of QEMU, without its daemon.
 *
 * @param cmdline the element of XML
 */
export const throughLibvirt = async (
  t: Test,
  cmdline: string,
): Promise<string> => {
  const folder = shortFolder(t)
  const kernel = join(folder, 'vmlinuz')
  cpSync(await kernelOf('mainline-7.3'), kernel)
  const etc = join(folder, 'root', 'etc')
  mkdirSync(etc, { recursive: true })
  // It would start a daemon for logs that stays.
  writeFileSync(join(etc, 'qemu.conf'), 'stdio_handler = "file"\n')
  const domain = join(folder, 'domain.xml')
  const isRoot = process.getuid?.() === 0
  if (isRoot)
    for (const path of [folder, join(folder, 'root'), etc])
      chownSync(path, NOBODY, NOBODY)
  return said(t, COMMAND_LINE, console => {
    chmodSync(dirname(console), 0o755)
    chmodSync(console, 0o666)
    writeFileSync(
      domain,
      `<domain type="qemu"><name>one</name><memory unit="MiB">512</memory>
      <os><type arch="x86_64" machine="q35">hvm</type><kernel>${kernel}</kernel>${cmdline}</os>
      <features><acpi/></features><on_reboot>destroy</on_reboot>
      <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model="none"/>
      <serial type="file"><source path="${console}"/></serial></devices></domain>`,
    )
    return execa(VIRT_QEMU_RUN, [`--root=${join(folder, 'root')}`, domain], {
      ...OUTPUT,
      env: { HOME: folder },
      ...(isRoot && { uid: NOBODY, gid: NOBODY }),
    })
  })
}

/** The first page that a kernel does not use, with 2 GiB of memory. */
export const lastPage = async (
  t: Test,
  kernel: string,
  words: readonly string[],
): Promise<number> =>
  Number(
    await said(
      t,
      /last_pfn = (0x[0-9a-f]+) max_arch_pfn/,
      qemu([
        '-m',
        '2048',
        '-kernel',
        await kernelOf(kernel),
        '-append',
        withConsole(words).join(' '),
      ]),
    ),
  )

/** Files of a loader that are not installed; none: it can be tried. */
export const missingFor = (files: readonly string[]): string | false => {
  const missing = files.filter(file => !existsSync(file))
  return (
    missing.length > 0 &&
    `expected ${missing.join(', ')}: ${shellLine(['./scripts/setup', 'hosts'])} installs it`
  )
}

export const LOADER_FILES = {
  grub: [join(GRUB_PC, 'lnxboot.img')],
  'grub-default': [join(GRUB_PC, 'lnxboot.img'), SCRIPT],
  'systemd-boot': [SYSTEMD_BOOT, UEFI.code],
  syslinux: [PXELINUX, SYSLINUX_MODULE],
  libvirt: [VIRT_QEMU_RUN],
} as const
