import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { FormName } from '../bootline/form.ts'
import { parseCmdline } from '../memory/cmdline.ts'
import { runCli, shortFolder } from '../testing/cli.ts'
import {
  LOADER_FILES,
  lastPage,
  missingFor,
  throughGrub,
  throughGrubDefault,
  throughIpxe,
  throughLibvirt,
  throughQemu,
  throughSyslinux,
  throughSystemdBoot,
  withConsole,
  withoutConsole,
} from '../testing/loaders.ts'

/** What is written arrives: each form goes through the real boot loader. */

const HARMLESS = [
  'memmap=64M$0x10000000',
  'memmap=16M!0x18000000,1M#0x1a000000',
  'memmap=1M%0x1b000000-1+2',
  'a=b;c',
  'd={e}',
  'f=&|<>*~`',
  'g=$h${i',
  '#j',
]
const QUOTED = ['k="l  m $n"']

interface Loader {
  readonly boot: (t: Test, written: string) => Promise<string>
  readonly words: readonly string[]
  readonly skip: string | false
}

const LOADERS: Readonly<Partial<Record<FormName, Loader>>> = {
  grub: {
    boot: throughGrub,
    words: [...HARMLESS, ...QUOTED],
    skip: missingFor(LOADER_FILES.grub),
  },
  'grub-default': {
    boot: throughGrubDefault,
    words: [...HARMLESS, ...QUOTED],
    skip: missingFor(LOADER_FILES['grub-default']),
  },
  'systemd-boot': {
    boot: throughSystemdBoot,
    words: [...HARMLESS, ...QUOTED, "o='p'", String.raw`q=\r`],
    skip: missingFor(LOADER_FILES['systemd-boot']),
  },
  qemu: {
    boot: throughQemu,
    words: [...HARMLESS, ...QUOTED, "o='p'", String.raw`q=\r`],
    skip: false,
  },
  libvirt: {
    boot: throughLibvirt,
    words: [...HARMLESS, ...QUOTED, "o='p'", String.raw`q=\r`],
    skip: missingFor(LOADER_FILES.libvirt),
  },
  ipxe: {
    boot: throughIpxe,
    // It knows no way to hand on two blanks or a word that begins with #.
    words: [...HARMLESS.slice(0, -1), 'k="l m"', "o='p'", String.raw`q=\r`],
    skip: false,
  },
  syslinux: {
    boot: throughSyslinux,
    words: [...HARMLESS, ...QUOTED, "o='p'", String.raw`q=\r`],
    skip: missingFor(LOADER_FILES.syslinux),
  },
}

for (const [form, { boot, words, skip }] of Object.entries(LOADERS))
  t.test(`${form}: what is written arrives`, { skip }, async t => {
    const { stdout, code, stderr } = await runCli(
      ['bootline', form, ...withConsole(words)],
      { cwd: shortFolder(t) },
    )
    t.equal(code, 0, stderr)
    const lines = stdout.split('\n').filter(line => !/^# |^$/.test(line))
    const cmdline = withoutConsole(await boot(t, lines.join('\n')))
    t.same(parseCmdline(cmdline), parseCmdline(words.join(' ')), cmdline)
  })

t.test('what is lost is lost as --check says', async t => {
  const cwd = shortFolder(t)
  for (const [form, file, text, boot] of [
    [
      'grub',
      'grub.cfg',
      (words: string) => `linux (hd0)/vmlinuz ${words}\n`,
      throughGrub,
    ],
    [
      'syslinux',
      'syslinux.cfg',
      (words: string) => `LABEL one\n  LINUX vmlinuz\n  APPEND ${words}\n`,
      (t: Test, words: string) => throughSyslinux(t, `APPEND ${words}`),
    ],
    [
      'ipxe',
      'first.ipxe',
      (words: string) =>
        `#!ipxe\nkernel tftp://10.0.2.2/vmlinuz ${words}\nboot\n`,
      throughIpxe,
    ],
  ] as const) {
    if (form !== 'ipxe' && missingFor(LOADER_FILES[form]) !== false) continue
    const words = withConsole([
      'memmap=300M$0x10000000',
      '"a  b"',
      'c=${d}e',
      String.raw`f=\\\$g`,
      "h='i'",
      '#j k',
    ]).join(' ')
    writeFileSync(join(cwd, file), text(words))
    const { stdout } = await runCli(['bootline', '--check', file, '--json'], {
      cwd,
    })
    const { files } = JSON.parse(stdout) as {
      readonly files: readonly {
        readonly arrivals: readonly { readonly cmdline: string }[]
      }[]
    }
    t.equal(
      withoutConsole(files[0]!.arrivals[0]!.cmdline),
      withoutConsole(await boot(t, words)),
      form,
    )
  }
})

t.test('a sign that is lost cuts memory off without a word', async t => {
  for (const kernel of ['mainline-7.3', 'upstream-6.12']) {
    const meant = await lastPage(t, kernel, ['memmap=1G$0x100000000'])
    t.ok(meant > 0x7ff00, `${kernel}: all of it is there`)
    t.equal(
      await lastPage(t, kernel, ['memmap=1Gx100000000']),
      0x40000,
      `${kernel}: nothing above 1 GiB`,
    )
  }
})
