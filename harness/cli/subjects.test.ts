import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { shortFolder } from '../testing/cli.ts'
import { readLog } from './log-file.ts'
import { asSubjects } from './subjects.ts'

t.test('files of one machine are read together', async t => {
  const folder = shortFolder(t)
  const file = async (name: string, text: string) => {
    const path = join(folder, name)
    writeFileSync(path, text)
    return readLog(path)
  }
  const log = await file('log', '[    0.000000] Linux version 6.12.0 (x)\n')
  const other = await file('other', '[    0.000000] Linux version 7.3.0 (x)\n')
  const msrs = await file('msrs', '# rdmsr 0x87\n4000000040\n')
  const cpu = await file(
    'cpu',
    'Model name: Intel(R) Xeon(R) X\nCPU family: 6\nModel: 207\nStepping: 2\n',
  )
  const [one, ...more] = asSubjects([msrs, log, cpu])
  t.same(more, [])
  t.equal(
    one?.file,
    ['log', 'msrs', 'cpu'].map(x => join(folder, x)).join(' + '),
  )
  t.match(one?.boots, [
    {
      kernel: '6.12.0',
      cpu: { model: 207 },
      platform: { msrs: [{ value: 0x4000000040n }] },
    },
  ])
  t.match(asSubjects([msrs, cpu]), [{ boots: [{ platform: { msrs: [{}] } }] }])
  t.equal(asSubjects([log, other, msrs]).length, 3, 'of which, is not known')
  t.equal(asSubjects([log, other]).length, 2)
  t.equal(asSubjects([msrs]).length, 1)
})
