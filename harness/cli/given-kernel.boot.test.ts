import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { projectRoot } from '../base/paths.ts'
import { buildKernel } from '../kernel/build.ts'
import { unpackBzImage } from '../kernel/bzimage.ts'
import type { BuiltKernel } from '../kernel/cache.ts'
import { loadRecipe } from '../kernel/recipe.ts'
import { type CaseResult, documentSchema } from '../report/schema.ts'
import { runCli, shortFolder } from '../testing/cli.ts'
import { COMPRESSIONS, bzImageOf } from '../testing/bzimage.ts'

/** Kernels as distributions ship them, made of those that are built here. */

const built = async (name: string): Promise<BuiltKernel> =>
  buildKernel(await loadRecipe(name), { onProgress: () => undefined })

const { bzImage, config, tdxHost } = await built('mainline-7.3')
const plain = await built('upstream-6.12-plain')
const shipped = (name: string): string => join(projectRoot(), 'scenarios', name)

/** Boots scenarios on a kernel that is named by its path. */
const boot = async (
  t: Test,
  kernel: string,
  scenarios: readonly string[],
): Promise<readonly CaseResult[]> => {
  const cwd = shortFolder(t)
  const { code, stderr, stdout } = await runCli(
    [
      'run',
      ...scenarios,
      '--kernel-build',
      kernel,
      '--accel',
      'tcg',
      '--json',
      'r.json',
    ],
    { cwd },
  )
  t.equal(code, 0, `${stdout}${stderr}`)
  const text = readFileSync(join(cwd, 'r.json'), 'utf8')
  return documentSchema.parse(JSON.parse(text)).cases
}

t.test('a bzImage alone: TDX is judged by what it shows', async t => {
  const cases = await boot(t, bzImage!, [
    shipped('plain/two-uneven-nodes.yaml'),
    // Its map is put in before the kernel has a symbol for it.
    shipped('firmware/odd-map.yaml'),
    shipped('update/good-image.yaml'),
  ])
  for (const { id, verdict, reasons, tdx, tdmrs, unobserved } of cases) {
    if (id.startsWith('update/')) {
      t.equal(verdict, 'skip')
      t.match(reasons[0]?.message, /without its tdx-host\.ko/)
      continue
    }
    t.equal(verdict, 'pass', id)
    t.equal(tdx?.outcome, 'initialized', id)
    t.ok(tdmrs && tdmrs.length > 0, 'and what the module was given')
    // CONFIG_KALLSYMS alone names functions, and no data.
    t.match(unobserved, [{ check: 'regions', missing: ['memory'] }])
  }
})

const CONTROL = [
  'Package: linux-image-test',
  'Version: 1',
  'Architecture: amd64',
  'Maintainer: Nobody <nobody@example.org>',
  'Description: a kernel',
  '',
].join('\n')

/** A package of a kernel with these files. */
const packageOf = (
  t: Test,
  files: Readonly<Record<string, string | Buffer>>,
  compression: string,
): string => {
  const folder = shortFolder(t)
  const root = join(folder, 'root')
  mkdirSync(join(root, 'DEBIAN'), { recursive: true })
  writeFileSync(join(root, 'DEBIAN', 'control'), CONTROL)
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true })
    if (typeof content === 'string') copyFileSync(content, join(root, name))
    else writeFileSync(join(root, name), content)
  }
  const path = join(folder, 'linux-image.deb')
  execFileSync('dpkg-deb', [`-Z${compression}`, '--build', root, path])
  return path
}

const UPDATE_DEVICE = 'kernel/drivers/virt/coco/tdx-host/tdx-host.ko'

t.test('a package, with the device that updates the module', async t => {
  const path = packageOf(
    t,
    {
      'boot/vmlinuz-7.3.4': bzImage!,
      'boot/config-7.3.4': config!,
      [`lib/modules/7.3.4/${UPDATE_DEVICE}.gz`]: gzipSync(
        readFileSync(tdxHost!),
      ),
      'usr/share/doc/linux-image/copyright': Buffer.from('text'),
    },
    'zstd',
  )
  const cases = await boot(t, path, [shipped('update/good-image.yaml')])
  t.match(cases, [{ verdict: 'pass', updates: [String] }])
  const check = await runCli(['kernel', 'check', path], {
    cwd: shortFolder(t),
  })
  t.match(check.stdout, /TDX host support {2}CONFIG_INTEL_TDX_HOST=y/)
})

t.test('/lib/modules/VERSION: its kernel is in /boot', async t => {
  const root = shortFolder(t)
  const modules = join(root, 'lib/modules/7.3.4')
  mkdirSync(join(modules, dirname(UPDATE_DEVICE)), { recursive: true })
  mkdirSync(join(root, 'boot'))
  copyFileSync(bzImage!, join(root, 'boot/vmlinuz-7.3.4'))
  copyFileSync(tdxHost!, join(modules, UPDATE_DEVICE))
  // What is no file does not count.
  mkdirSync(join(root, 'boot/config-7.3.4'))
  mkdirSync(join(modules, 'Module.symvers'))
  const cases = await boot(t, modules, [shipped('update/older-module.yaml')])
  t.match(cases, [{ verdict: 'pass' }])
})

t.test('a name in a package that looks like an option is a name', async t => {
  const folder = shortFolder(t)
  mkdirSync(join(folder, 'boot'))
  copyFileSync(bzImage!, join(folder, 'boot/vmlinuz-1'))
  const options = { cwd: folder }
  const renamed = ['--transform', 's,^boot,-C/boot,', 'boot/vmlinuz-1']
  execFileSync('tar', ['-cf', 'data.tar', ...renamed], options)
  execFileSync('ar', ['rc', 'linux.deb', 'data.tar'], options)
  const cases = await boot(t, join(folder, 'linux.deb'), [
    shipped('plain/two-uneven-nodes.yaml'),
  ])
  t.match(cases, [{ verdict: 'pass' }])
})

t.test('a kernel without TDX host support: its layout is judged', async t => {
  const folder = shortFolder(t)
  const vmlinux = join(folder, 'vmlinux')
  // Every name that speaks of TDX is changed, and with it what calls SEAMCALL.
  const text = readFileSync(plain.vmlinux, 'latin1')
  const bytes = Buffer.from(
    text.replaceAll('tdx_', 'xdt_').replaceAll('__seamcall', '__xeamcall'),
    'latin1',
  )
  writeFileSync(vmlinux, bytes)
  const check = await runCli(['kernel', 'check', vmlinux], { cwd: folder })
  t.equal(check.code, 0)
  t.match(check.stdout, /TDX host support {2}none: the memory layout is judged/)
  const cases = await boot(t, vmlinux, [
    shipped('memmap/hole-at-node-border.yaml'),
    shipped('update/good-image.yaml'),
  ])
  t.match(cases, [{ verdict: 'pass', scope: 'layout' }, { verdict: 'pass' }])
})

t.test('what is no kernel: exit code 2, and what to give', async t => {
  const cwd = shortFolder(t)
  const at = (name: string): string => join(cwd, name)
  writeFileSync(at('s.yaml'), 'name: n\nwhy: w\nmachine: { memory: 1G }\n')
  writeFileSync(at('text'), 'hello')
  mkdirSync(at('empty'))
  mkdirSync(at('two'))
  for (const name of ['vmlinuz-1', 'vmlinuz-2'])
    copyFileSync(bzImage!, at(`two/${name}`))
  copyFileSync(bzImage!, at('short'))
  truncateSync(at('short'), 1_000_000)
  const image = readFileSync(bzImage!)
  const start = (image[0x1f1]! + 1) * 512 + image.readUInt32LE(0x248)
  writeFileSync(at('odd'), Buffer.from(image).fill('x', start, start + 4))
  const middle = start + 1_000_000
  writeFileSync(at('bad'), Buffer.from(image).fill(0, middle, middle + 400))
  const foreign = readFileSync(plain.vmlinux)
  const seamcall = Buffer.of(0x66, 0x0f, 0x01, 0xcf)
  for (
    let i = foreign.indexOf(seamcall);
    i >= 0;
    i = foreign.indexOf(seamcall, i)
  )
    foreign.fill(0x90, i, i + seamcall.length)
  writeFileSync(at('foreign'), foreign)
  const old = Buffer.from(image)
  writeFileSync(at('old'), old.fill(0, 0x206, 0x208))
  const whole = packageOf(t, { 'boot/vmlinuz-1': bzImage! }, 'xz')
  copyFileSync(whole, at('cut.deb'))
  truncateSync(at('cut.deb'), 1_000_000)
  copyFileSync(
    packageOf(t, { 'usr/share/x': Buffer.from('x') }, 'xz'),
    at('none.deb'),
  )
  const huge = image.length + 2 ** 31
  copyFileSync(bzImage!, at('huge'))
  truncateSync(at('huge'), huge)
  mkdirSync(at('config'))
  copyFileSync(plain.vmlinux, at('config/vmlinux'))
  writeFileSync(at('config/.config'), '')
  truncateSync(at('config/.config'), huge)
  const cases: [kernel: string, message: RegExp][] = [
    ['huge', new RegExp(`found ${huge} bytes: that is larger than any`)],
    ['config', /config\/\.config, found \d+ bytes: that is larger than any/],
    ['', /expected a kernel, found an empty name/],
    ['text', /found another kind of file: give a folder in which/],
    ['nothing', /found nothing: give/],
    ['empty', /found no vmlinux and no vmlinuz there/],
    ['two', /found 2 files that may be its bzImage: .* name the vmlinuz/],
    ['short', /found a truncated one: 1000000 bytes of/],
    ['odd', /an unknown compression \(it begins with 78787878\)/],
    ['bad', /cannot be unpacked|is damaged/],
    ['old', /boot protocol before 2\.08/],
    ['cut.deb', /expected a whole \.deb/],
    ['none.deb', /found neither boot\/vmlinuz-VERSION nor/],
    ['/bin/ls', /found no symbol table and no kallsyms/],
    ['foreign', /not that: the rig does not know this form of TDX host/],
  ]
  for (const [kernel, message] of cases) {
    const { code, stderr, stdout } = await runCli(
      ['run', 's.yaml', '--kernel-build', kernel],
      { cwd },
    )
    t.equal(code, 2, kernel)
    t.match(stderr, message, kernel)
    t.equal(stdout, '', kernel)
  }
})

t.test('every compression of a bzImage', async t => {
  const folder = shortFolder(t)
  const elf = readFileSync(plain.vmlinux).subarray(0, 100_000)
  for (const name of COMPRESSIONS) {
    const bytes = bzImageOf(elf, name)
    await t.test(
      name,
      { skip: bytes ? false : 'there is no program for it' },
      async t => {
        const path = join(folder, name)
        writeFileSync(path, bytes!)
        t.ok((await unpackBzImage(path)).equals(elf))
      },
    )
  }
})
