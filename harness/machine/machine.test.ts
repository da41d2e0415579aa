import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { PreparedKernel } from '../run/kernels.ts'
import { KERNEL, NODES } from '../testing/judged.ts'
import { machineContract } from '../testing/machine-contract.ts'
import { namedCase, perfectBoot, recordOf } from '../testing/records.ts'
import { ReplayMachine } from '../testing/replay-machine.ts'
import { ScriptedMachine } from '../testing/scripted-machine.ts'
import type { BootPlan } from './machine.ts'
import { readRecord, recordJson } from './record-file.ts'
import type { WitnessName } from './record.ts'

/** The machines that need no QEMU; that of QEMU is in qemu.boot.test.ts. */

const item = namedCase(NODES)
/** As far as these machines look at one. */
const kernel = {
  ...KERNEL,
  name: item.kernel,
  key: 'test',
  programs: { init: '/none', trigger: '/none' },
  initramfs: '/none',
} as unknown as PreparedKernel

const foldersIn = (t: Test): string => {
  const folder = t.testdir({})
  mkdirSync(join(folder, 'contract'))
  return folder
}

const WITHOUT: readonly (readonly WitnessName[])[] = [
  [],
  ['memory', 'module'],
  ['module'],
  ['steps'],
]

for (const without of WITHOUT) {
  const of = without.length === 0 ? '' : ` without ${without.join(' and ')}`
  t.test(`a scripted machine${of}`, async t => {
    const folder = foldersIn(t)
    machineContract(t, {
      machine: new ScriptedMachine(item, without),
      item,
      kernel,
      initramfs: '/none',
      folder: join(folder, 'contract'),
    })
  })

  t.test(`a saved boot${of}`, async t => {
    const folder = foldersIn(t)
    const saved = {
      record: join(folder, 'record.json'),
      console: join(folder, 'console.log'),
    }
    const record = await new ScriptedMachine(item, without).boot(
      { directory: folder } as BootPlan,
      new AbortController().signal,
    )
    writeFileSync(saved.record, recordJson(record))
    machineContract(t, {
      machine: await ReplayMachine.open(saved),
      item,
      kernel,
      initramfs: '/none',
      folder: join(folder, 'contract'),
    })
  })
}

t.test('a saved boot that cannot be read', async t => {
  const folder = t.testdir({ 'record.json': '{', 'other.json': '{}' })
  for (const name of ['record.json', 'other.json', 'none.json'])
    await t.rejects(
      ReplayMachine.open({
        record: join(folder, name),
        console: join(folder, 'console.log'),
      }),
      { code: 'SAVED_BOOT' },
      name,
    )
})

t.test('the record of two kernels is kept whole', async t => {
  const boot = recordOf(perfectBoot(item).seen)
  const { memory, module } = boot.witnesses
  const record = {
    ...boot,
    next: { cmdline: 'kho=on', memory, module, physBase: 0x7a000000 },
  }
  const { next } = readRecord(JSON.parse(recordJson(record)), null)
  t.same(next, record.next)
})
