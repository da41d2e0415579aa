import { randomBytes } from 'node:crypto'
import {
  appendFileSync,
  mkdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import t, { type Test } from 'tap'
import { explain } from '../judge/explain.ts'
import { shortFolder } from '../testing/cli.ts'
import { MAP, at, version } from '../testing/posted.ts'
import type { Log } from './log.ts'
import { readLog } from './log-file.ts'
import { asSubjects } from './subjects.ts'

const INITIALISED = [
  'virt/tdx: BIOS enabled: private KeyID range [64, 128)',
  'virt/tdx: TDX-Module initialized',
]
const LOG = [version('7.3.1'), ...MAP, ...INITIALISED]
  .map((text, i) => at(i, text))
  .join('\n')
const MEMMAP = [
  ['0x0', '0x9ffff', 'System RAM'],
  ['0x100000', '0x7fffffff', 'System RAM'],
  ['0x100000000', '0x23fffffff', 'System RAM'],
] as const

const CPUID = `CPU 0:
   vendor_id = "GenuineIntel"
      stepping id     = 0x2 (2)
      (family synth)  = 0x6 (6)
      (model synth)   = 0xcf (207)
      TME: Total Memory Encryption             = true
   hypervisor_id (0x40000000) = "KVMKVMKVM\\0\\0\\0"
   brand = "Intel(R) Xeon(R) Platinum 8592+"
`

/** A folder of a machine, as sos 4.0 makes it. */
const made = (
  t: Test,
  files: Readonly<Record<string, string>>,
): { readonly root: string; readonly above: string } => {
  const above = shortFolder(t)
  const root = join(above, 'sosreport-host-2026')
  for (const [name, text] of Object.entries(files)) {
    const path = join(root, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
  return { root, above }
}

const WHOLE: Readonly<Record<string, string>> = {
  'sos_commands/kernel/dmesg': LOG,
  'sos_commands/kernel/uname_-a':
    'Linux host 7.3.1 #1 SMP PREEMPT_DYNAMIC x86_64\n',
  'sos_commands/processor/cpuid': CPUID,
  'proc/cmdline': 'BOOT_IMAGE=/vmlinuz ro mem=4G\n',
  'sys/module/kvm_intel/parameters/tdx': 'N\n',
  'installed-debs': 'x\n',
  'sos_commands/dpkg/dpkg_-l':
    'ii  qemu-system-x86  1:10.1.0+ds-5  amd64  QEMU\nii  qemu-utils 1:9 amd64 x\n',
  'var/log/libvirt/qemu/td.log':
    'qemu-system-x86_64: vm-type tdx not supported by KVM\n',
  ...Object.fromEntries(
    MEMMAP.flatMap(([start, end, type], i) => [
      [`sys/firmware/memmap/${i}/start`, `${start}\n`],
      [`sys/firmware/memmap/${i}/end`, `${end}\n`],
      [`sys/firmware/memmap/${i}/type`, `${type}\n`],
    ]),
  ),
}

const isWhole = (t: Test, { file, boots }: Log, name: string): void => {
  t.equal(file, `${name}:sos_commands/kernel/dmesg`)
  t.match(boots, [
    {
      kernel: '7.3.1',
      cmdline: 'BOOT_IMAGE=/vmlinuz ro mem=4G',
      cpu: { family: 6, model: 207, stepping: 2 },
      hypervisor: { name: 'KVM' },
      tdx: { outcome: 'initialized' },
      platform: {
        flags: { tme: true },
        kvmTdx: { isOn: false },
        packages: [{ name: 'qemu-system-x86', version: '1:10.1.0+ds-5' }],
        complaints: [{ kind: 'kvm-refuses' }],
        firmwareMap: MEMMAP.map(([start]) => ({ start: Number(start) })),
      },
    },
  ])
  const { platform, advice } = explain(boots[0]!)
  t.match(
    platform.map(({ text }) => text).join('\n'),
    /KVM offers no TDs .*parameters\/tdx is N/,
  )
  t.notMatch(advice.join('\n'), /offers TDs only with/)
}

t.test('a folder and an archive of it are one subject', async t => {
  const { root, above } = made(t, WHOLE)
  isWhole(t, await readLog(root), root)
  for (const kind of ['tar', 'tar.gz', 'tar.xz']) {
    const archive = join(above, `report.${kind}`)
    // It packs as the name says.
    await execa('tar', ['-caf', archive, '-C', above, 'sosreport-host-2026'])
    isWhole(t, await readLog(archive), archive)
  }
})

t.test('of several logs the one with the memory counts', async t => {
  const journal = 'sos_commands/logs/journalctl_--no-pager_--catalog_--boot'
  const { root } = made(t, {
    'sos_commands/kernel/dmesg': at(99, 'virt/tdx: something later'),
    [journal]: LOG,
  })
  t.equal((await readLog(root)).file, `${root}:${journal}`)
})

t.test('an earlier boot is not taken for this one', async t => {
  const earlier = LOG.replaceAll('7.3.1', '7.2.9')
  const { root } = made(t, {
    ...WHOLE,
    'sos_commands/kernel/dmesg': at(99, 'virt/tdx: TDX-Module initialized'),
    'var/log/dmesg.0': earlier,
    'var/log/kern.log': earlier,
  })
  const { file, complaints } = await readLog(root)
  t.equal(file, `${root}:sos_commands/kernel/dmesg`)
  t.same(complaints, [])
  const only = made(t, {
    'sos_commands/kernel/uname_-a': WHOLE['sos_commands/kernel/uname_-a']!,
    'var/log/kern.log': earlier,
  })
  t.match((await readLog(only.root)).complaints, [
    /no log of the kernel that ran \(7\.3\.1\) is there: this is one of 7\.2\.9/,
  ])
})

t.test('a dmesg that forgot the start is no firmware fault', async t => {
  const { root } = made(t, {
    'sos_commands/kernel/uname_-a': WHOLE['sos_commands/kernel/uname_-a']!,
    'sos_commands/kernel/dmesg': at(99, 'usb 1-1: new device'),
    'sys/module/kvm_intel/parameters/tdx': 'Y\n',
  })
  const { boots } = await readLog(root)
  t.match(explain(boots[0]!).cause, /TDX was initialised on this boot/)
})

t.test('packed logs, damaged ones, and those nobody may read', async t => {
  const packed = await execa('gzip', ['-c'], {
    input: LOG,
    encoding: 'buffer',
  })
  const { root, above } = made(t, { 'proc/cpuinfo': 'x\n', 'opt/x': 'y' })
  mkdirSync(join(root, 'var/log'), { recursive: true })
  writeFileSync(join(root, 'var/log/kern.log.1.gz'), packed.stdout)
  writeFileSync(
    join(root, 'var/log/kern.log.2.gz'),
    packed.stdout.subarray(0, -30),
  )
  // A bundle has one, and is known by more than that.
  writeFileSync(join(root, 'opt/console.log'), 'x')
  const archive = join(above, 'x.tar.gz')
  await execa('tar', ['-caf', archive, '-C', above, 'sosreport-host-2026'])
  for (const path of [root, archive]) {
    const { file, boots, complaints } = await readLog(path)
    t.equal(file, `${path}:var/log/kern.log.1.gz`)
    t.match(boots, [{ kernel: '7.3.1' }])
    t.match(complaints, [/kern\.log\.2\.gz was read as far as it can be/])
  }
})

t.test('two machines are not one', async t => {
  const { root, above } = made(t, WHOLE)
  mkdirSync(join(above, 'other/proc'), { recursive: true })
  writeFileSync(join(above, 'other/proc/cpuinfo'), 'model name : x\n')
  const archive = join(above, 'two.tar')
  await execa('tar', [
    '-caf',
    archive,
    '-C',
    above,
    'sosreport-host-2026',
    'other',
  ])
  t.match((await readLog(archive)).complaints, [
    /found 'other' beside 'sosreport-host-2026'/,
  ])
  const log = await readLog(root)
  t.equal(asSubjects([log, await readLog(join(above, 'other'))]).length, 2)
})

t.test('what an archive has behind its end keeps no tool alive', async t => {
  const { above } = made(t, WHOLE)
  const archive = join(above, 'x.tar')
  await execa('tar', ['-cf', archive, '-C', above, 'sosreport-host-2026'])
  appendFileSync(archive, randomBytes(3_000_000))
  await execa('xz', ['-0', archive])
  t.match(await readLog(`${archive}.xz`), { boots: [{ kernel: '7.3.1' }] })
})

t.test('a tool that is ended, or not there, is told', async t => {
  const folder = shortFolder(t)
  const log = join(folder, 'log.xz')
  writeFileSync(
    log,
    (await execa('xz', ['-c'], { input: LOG, encoding: 'buffer' })).stdout,
  )
  const path = process.env['PATH']
  t.teardown(() => (process.env['PATH'] = path))
  process.env['PATH'] = folder
  await t.rejects(readLog(log), {
    code: 'UNPACK',
    message: /log\.xz: expected 'xz' to unpack this, found none/,
  })
  writeFileSync(join(folder, 'xz'), '#!/bin/sh\necho x; kill -9 $$\n', {
    mode: 0o755,
  })
  await t.rejects(readLog(log), {
    code: 'UNPACK',
    message: /was ended by SIGKILL/,
  })
})

t.test('tools alone are a subject too', async t => {
  const tools = Object.entries(WHOLE).filter(([name]) => !/dmesg$/.test(name))
  const { root } = made(t, Object.fromEntries(tools))
  const { file, boots } = await readLog(root)
  t.equal(file, root)
  t.match(boots, [
    { kernel: '7.3.1', firmwareMap: [{ end: 0xa0000 }, {}, {}], cpu: {} },
  ])
})

t.test('what is no report is told', async t => {
  const { root, above } = made(t, { 'etc/passwd': 'x', 'a/b/proc/iomem': 'x' })
  await t.rejects(readLog(root), {
    code: 'NO_LOG',
    message: /expected a log, or a folder as 'sos report' makes one/,
  })
  // Links lead out of it.
  symlinkSync('/proc', join(root, 'proc'))
  symlinkSync('/proc/cpuinfo', join(root, 'cpuinfo'))
  await t.rejects(readLog(root), { code: 'NO_LOG' })
  const archive = join(above, 'x.tar.xz')
  await execa('tar', ['-cJf', archive, '-C', above, 'sosreport-host-2026'])
  await t.rejects(readLog(archive), {
    code: 'NO_LOG',
    message: /expected an archive of 'tdxrig run --bundle' or of 'sos report'/,
  })
  truncateSync(archive, 100)
  await t.rejects(readLog(archive), {
    message: /xz cannot unpack this to its end: it is damaged/,
  })
})

t.test('a log is read from xz, zstd and bzip2', async t => {
  const folder = shortFolder(t)
  for (const tool of ['xz', 'bzip2', 'zstd']) {
    const found = await execa(tool, ['--version'], { reject: false })
    if (found.failed) {
      t.comment(`no ${tool} here`)
      continue
    }
    const { stdout } = await execa(tool, ['-c'], {
      input: LOG,
      encoding: 'buffer',
    })
    const path = join(folder, `log.${tool}`)
    writeFileSync(path, stdout)
    t.match((await readLog(path)).boots, [{ kernel: '7.3.1' }], tool)
  }
})
