import {
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
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

const RAM = [{ id: 'ram', size: 48 * 1024 }]

const draftOf = async (store: SnapshotStore, key: string): Promise<Draft> => {
  const draft = await store.begin(key)
  if (!draft) throw new Error('expected a draft')
  writeFileSync(draft.devices, 'devices')
  for (const { id, size } of RAM)
    writeFileSync(join(draft.folder, id), Buffer.alloc(size, 1))
  return draft
}

const take = async (store: SnapshotStore, key: string): Promise<void> => {
  await using draft = await draftOf(store, key)
  await draft.keep(Buffer.from('console\n'), NOTES)
}

t.test('what was kept is found', async t => {
  const store = new SnapshotStore(shortFolder(t))
  const key = store.key({ memory: 4096 })
  t.equal(await store.find(key, RAM), undefined)
  await take(store, key)
  const found = await store.find(key, RAM)
  t.match(found, { key, notes: NOTES })
  t.equal(Buffer.from(found!.console).toString(), 'console\n')
  t.equal(await store.find(store.key({ memory: 8192 }), RAM), undefined)
  await store.forget(found!)
  t.equal(await store.find(key, RAM), undefined)
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
  t.same((await store.find(key, RAM))?.notes, {
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

t.test('what cannot be used is replaced', async t => {
  const root = shortFolder(t)
  const store = new SnapshotStore(root)
  const key = store.key('both')
  mkdirSync(join(root, key))
  writeFileSync(join(root, key, 'half-of-one'), '')
  t.equal(await store.find(key, RAM), undefined)
  await take(store, key)
  t.ok(await store.find(key, RAM))
  t.same(readdirSync(root), [key], 'nothing else is left')
})

t.test('without its memory it is none', async t => {
  const root = shortFolder(t)
  const store = new SnapshotStore(root)
  const key = store.key('memory')
  await take(store, key)
  const other = [{ id: 'ram', size: 1 }]
  t.equal(await store.find(key, other), undefined, 'of another size')
  t.equal(await store.find(key, [...RAM, ...other]), undefined)
  rmSync(join(root, key, 'ram'))
  t.equal(await store.find(key, RAM), undefined, 'none at all')
})

t.test('a draft knows how much it may take', async t => {
  const store = new SnapshotStore(shortFolder(t), { room: 4096 })
  await using draft = await draftOf(store, store.key('small'))
  t.equal(draft.room, 4096)
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
    t.equal(await store.find(key, RAM), undefined, notes)
  }
})

t.test('what a killed process left goes with a later snapshot', async t => {
  const root = shortFolder(t)
  const store = new SnapshotStore(root)
  const left = join(root, `${store.key('x')}.1234.partial`)
  const ours = join(root, `${store.key('y')}.5678.partial`)
  for (const folder of [left, ours]) mkdirSync(folder)
  const before = Date.now() / 1000 - 3600
  utimesSync(left, before, before)
  await take(store, store.key('z'))
  t.notOk(existsSync(left))
  t.ok(existsSync(ours), 'what is being written stays')
})

t.test('those that were not used for longest make room', async t => {
  const root = shortFolder(t)
  const store = new SnapshotStore(root, { room: 3 * 60 * 1024 })
  const keys = ['a', 'b', 'c', 'd'].map(name => store.key(name))
  for (const [i, key] of keys.entries()) {
    await using draft = await draftOf(store, key)
    await draft.keep(Buffer.alloc(0), NOTES)
    utimesSync(join(root, key), 1000 + i, 1000 + i)
    // It is used: now the second is the oldest.
    if (i === 2) await store.find(keys[0]!, RAM)
  }
  const left = await Promise.all(keys.map(key => store.find(key, RAM)))
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
