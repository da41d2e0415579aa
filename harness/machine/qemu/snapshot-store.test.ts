import {
  existsSync,
  mkdirSync,
  readdirSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { shortFolder } from '../../testing/cli.ts'
import { type Draft, SnapshotStore } from './snapshot-store.ts'

const NOTES = {
  cmdline: 'console=ttyS0',
  keyidReads: 1,
  regionsAtBoot: [{ start: 0x100000, end: 0x80000000, node: 0 }],
}

const draftOf = async (store: SnapshotStore, key: string): Promise<Draft> => {
  const draft = await store.begin(key)
  if (!draft) throw new Error('expected a draft')
  writeFileSync(draft.devices, 'devices')
  return draft
}

const take = async (store: SnapshotStore, key: string): Promise<void> => {
  await using draft = await draftOf(store, key)
  await draft.keep(Buffer.from('console\n'), NOTES)
}

t.test('what was kept is found', async t => {
  const store = new SnapshotStore(shortFolder(t))
  const key = store.key({ memory: 4096 })
  t.equal(await store.find(key), undefined)
  await take(store, key)
  const found = await store.find(key)
  t.match(found, { key, notes: NOTES })
  t.equal(Buffer.from(found!.console).toString(), 'console\n')
  t.equal(await store.find(store.key({ memory: 8192 })), undefined)
  await store.forget(found!)
  t.equal(await store.find(key), undefined)
})

t.test('what is not noted is not known', async t => {
  const store = new SnapshotStore(shortFolder(t))
  const key = store.key('a kernel without a list')
  await using draft = await draftOf(store, key)
  await draft.keep(Buffer.alloc(0), {
    cmdline: undefined,
    keyidReads: 0,
    regionsAtBoot: undefined,
  })
  t.same((await store.find(key))?.notes, {
    cmdline: undefined,
    keyidReads: 0,
    regionsAtBoot: undefined,
  })
})

t.test('a key is known the second time', async t => {
  const store = new SnapshotStore(shortFolder(t))
  const key = store.key('once')
  t.equal(await store.wasAskedFor(key), false)
  t.equal(await store.wasAskedFor(key), true)
  t.equal(await store.wasAskedFor(store.key('another')), false)
})

t.test('a draft that is not kept leaves nothing', async t => {
  const root = shortFolder(t)
  const store = new SnapshotStore(root)
  const key = store.key('not kept')
  {
    await using draft = await draftOf(store, key)
    t.ok(existsSync(draft.folder))
    t.equal(await store.begin(key), undefined, 'one at a time')
  }
  t.same(readdirSync(root), [])
  t.ok(await store.begin(key), 'and then another')
})

t.test('whoever comes second throws his away', async t => {
  const root = shortFolder(t)
  const key = new SnapshotStore(root).key('both')
  const store = new SnapshotStore(root)
  await using draft = await draftOf(store, key)
  mkdirSync(join(root, key))
  writeFileSync(join(root, key, 'of-another'), '')
  await t.rejects(draft.keep(Buffer.alloc(0), NOTES))
})

t.test('broken notes are no snapshot', async t => {
  const root = shortFolder(t)
  const store = new SnapshotStore(root)
  for (const notes of [
    '',
    '{',
    'null',
    '[]',
    '{"cmdline":3,"keyidReads":1,"regionsAtBoot":null}',
    '{"cmdline":null,"keyidReads":-1,"regionsAtBoot":null}',
    '{"cmdline":null,"keyidReads":1,"regionsAtBoot":[{"start":1}]}',
    '{"cmdline":null,"keyidReads":1,"regionsAtBoot":null,"more":1}',
  ]) {
    const key = store.key(notes)
    await take(store, key)
    writeFileSync(join(root, key, 'notes.json'), notes)
    t.equal(await store.find(key), undefined, notes)
  }
})

t.test('what a killed process left goes with the next snapshot', async t => {
  const root = shortFolder(t)
  const store = new SnapshotStore(root)
  // No process has this number (pid_max is 2^22 at most).
  const left = join(root, `${store.key('x')}.4194305.partial`)
  const ours = join(root, `${store.key('y')}.${process.pid}.partial`)
  for (const folder of [left, ours]) mkdirSync(folder)
  await take(store, store.key('z'))
  t.notOk(existsSync(left))
  t.ok(existsSync(ours), 'that of a process that lives stays')
})

t.test('those that were not used for longest make room', async t => {
  const root = shortFolder(t)
  const store = new SnapshotStore(root, { room: 3 * 64 * 1024 })
  const keys = ['a', 'b', 'c', 'd'].map(name => store.key(name))
  for (const [i, key] of keys.entries()) {
    await using draft = await draftOf(store, key)
    writeFileSync(join(draft.folder, 'ram'), Buffer.alloc(48 * 1024, 1))
    await draft.keep(Buffer.alloc(0), NOTES)
    utimesSync(join(root, key), 1000 + i, 1000 + i)
    // It is used: now the second is the oldest.
    if (i === 2) await store.find(keys[0]!)
  }
  const left = await Promise.all(keys.map(key => store.find(key)))
  t.same(
    left.map(found => found !== undefined),
    [true, false, true, true],
  )
})

t.test('marks do not grow without end', async t => {
  const root = shortFolder(t)
  const store = new SnapshotStore(root)
  for (let i = 0; i < 2001; i++) writeFileSync(join(root, `${i}.seen`), '')
  await take(store, store.key('x'))
  t.same(
    readdirSync(root).filter(name => name.endsWith('.seen')),
    [],
  )
})
