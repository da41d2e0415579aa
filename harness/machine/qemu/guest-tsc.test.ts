import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { useCacheIn } from '../../testing/cache-folder.ts'
import { GuestTsc } from './guest-tsc.ts'

const QEMU = { binary: '/usr/bin/qemu', version: '7.2' }

const withCache = (t: Test) => {
  const folder = t.testdir({ cache: {} })
  useCacheIn(t, folder)
  const consolePath = join(folder, 'console')
  return (text: string, cmdline = 'console=ttyS0') => {
    writeFileSync(consolePath, text)
    return { cmdline, consolePath }
  }
}

const line = (mhz: string) =>
  `[    0.000000] Linux version 7.3.4\r\n[    0.040000] tsc: Detected ${mhz} MHz processor\r\n`

t.test('the first guest measures, all others are told', async t => {
  const guest = withCache(t)
  const tsc = new GuestTsc(QEMU)
  t.same(await tsc.words(), [])
  await tsc.learn(guest(line('2095.087')))
  t.same(await tsc.words(), ['tsc_early_khz=2095087'])
  t.same(await new GuestTsc(QEMU).words(), ['tsc_early_khz=2095087'])
  const other = new GuestTsc({ ...QEMU, version: '11.1' })
  t.same(await other.words(), [], 'another QEMU may count otherwise')
})

t.test('what teaches nothing', async t => {
  const guest = withCache(t)
  const tsc = new GuestTsc(QEMU)
  await tsc.learn(guest(line('1000.000'), 'tsc_early_khz=1000000'))
  await tsc.learn(guest(''))
  await tsc.learn(guest(line('12.000')))
  await tsc.learn(guest(line('99999999.000')))
  await tsc.learn(guest(' '.repeat(70_000) + line('2095.087')))
  t.same(await tsc.words(), [])
})
