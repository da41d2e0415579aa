import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { useCacheIn } from '../testing/cache-folder.ts'
import { shortFolder } from '../testing/cli.ts'
import { DEFAULT_BOARD } from '../board/index.ts'
import type { Qemu } from '../machine/qemu/probe.ts'
import { KERNEL } from '../testing/judged.ts'
import { chooseAccelerator } from './accelerator.ts'
import type { PreparedKernel } from './kernels.ts'

const kernel = {
  ...KERNEL,
  name: 'k',
  bootFile: '/none',
  initramfs: '/none',
  sites: { sites: [] },
} as unknown as PreparedKernel

const NO_KVM = "echo 'failed to initialize kvm: No such device' >&2; exit 1"

/** A host whose /dev/kvm opens, with a QEMU that ends at once. */
const host = (t: Test, end = NO_KVM) => {
  const folder = shortFolder(t)
  mkdirSync(join(folder, 'cache'))
  writeFileSync(join(folder, 'kvm'), '')
  useCacheIn(t, folder)
  const binary = join(folder, 'qemu')
  writeFileSync(binary, `#!/bin/sh\n${end}\n`)
  chmodSync(binary, 0o755)
  const qemu: Qemu = {
    binary,
    version: '10.0.2',
    board: DEFAULT_BOARD,
    description: 'a stand-in',
  }
  const memory = join(folder, 'cache', 'tdxrig', 'accelerator.json')
  const choose = (directory: () => Promise<string>) =>
    chooseAccelerator('auto', {
      qemu,
      board: DEFAULT_BOARD,
      kernel,
      workspace: { directory },
      onStep: () => undefined,
      signal: new AbortController().signal,
      device: join(folder, 'kvm'),
    })
  return { folder, memory, choose }
}

const full = (): Promise<string> =>
  Promise.reject(
    Object.assign(new Error('ENOSPC: no space left on device'), {
      code: 'ENOSPC',
    }),
  )

t.test('a full disk says nothing about KVM, and is not kept', async t => {
  const { memory, choose } = host(t)
  t.match(await choose(full), {
    accel: 'tcg',
    reason: 'KVM could not be tried: ENOSPC: no space left on device',
  })
  t.notOk(existsSync(memory))
})

t.test('a defect of the rig is shown, and is not kept', async t => {
  const { memory, choose } = host(t)
  await t.rejects(
    choose(() => Promise.reject(new TypeError('undefined is not a folder'))),
    TypeError,
  )
  t.notOk(existsSync(memory))
})

t.test('what QEMU answers about KVM is kept', async t => {
  const { folder, memory, choose } = host(t)
  t.match(await choose(() => Promise.resolve(folder)), {
    accel: 'tcg',
    reason: /^KVM does not work: .*No such device/,
  })
  t.match(JSON.parse(readFileSync(memory, 'utf8')), {
    finding: { accel: 'tcg' },
  })
  t.match(await choose(full), { reason: /No such device.*\(remembered\)$/ })
})

for (const [what, end] of [
  ['a lack of memory', "echo 'cannot set up guest memory' >&2; exit 1"],
  ['a signal', "echo 'kvm was there' >&2; kill -9 $$"],
] as const)
  t.test(`${what} says nothing about KVM, and is not kept`, async t => {
    const { folder, memory, choose } = host(t, end)
    t.match(await choose(() => Promise.resolve(folder)), {
      accel: 'tcg',
      reason: /^KVM could not be tried: /,
    })
    t.notOk(existsSync(memory))
  })
