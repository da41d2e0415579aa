import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { shortFolder } from '../../testing/cli.ts'
import { type Draft, SnapshotStore } from './snapshot-store.ts'

const NOTES = {
  cmdline: 'console=ttyS0',
  keyidReads: 1,
  regionsAtBoot: [{ start: 0x100000, end: 0x80000000, node: 0 }],
}

const RAM = [{ id: 'ram', size: 48 * 1024 }]

/** Key of a machine. */
const MACHINE = '0123456789abcdef0123456789abcdef'

const draftOf = async (
  store: SnapshotStore,
  key: string,
  memory?: string,
): Promise<Draft> => {
  const draft = await store.begin(key, MACHINE)
  if (!draft) throw new Error('expected a draft')
  writeFileSync(draft.devices, 'devices')
  if (memory !== undefined) return draft
  mkdirSync(draft.memory)
  for (const { id, size } of RAM)
    writeFileSync(join(draft.memory, id), Buffer.alloc(size, 1))
  return draft
}

/** The only memory of a store. */
const memoryIn = (root: string): string => {
  const [name, more] = readdirSync(root).filter(one => one.endsWith('.memory'))
  if (name === undefined || more !== undefined)
    throw new Error('expected one memory')
  return name
}

/** @param memory name of one that is there; default: one of its own */
const take = async (
  store: SnapshotStore,
  key: string,
  memory?: string,
): Promise<void> => {
  await using draft = await draftOf(store, key, memory)
  await draft.keep({
    console: Buffer.from('console\n'),
    notes: NOTES,
    memoryName: memory,
  })
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
  const notes = {
    cmdline: undefined,
    keyidReads: 0,
    regionsAtBoot: undefined,
  }
  await draft.keep({ console: Buffer.alloc(0), notes, memoryName: undefined })
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

t.test('where there can be none it says why, once', async t => {
  const file = join(shortFolder(t), 'file')
  writeFileSync(file, '')
  const said: string[] = []
  const store = new SnapshotStore(join(file, 'snapshots'), {
    onTrouble: why => said.push(why),
  })
  const key = store.key('nowhere')
  t.equal(await store.find(key, RAM), undefined)
  t.same(said, [], 'that there is none is no trouble')
  t.equal(await store.wasAskedFor(key), false)
  t.equal(await store.begin(key, MACHINE), undefined)
  t.equal(said.length, 1)
  t.match(said[0], file)
})

t.test(
  'a draft that failed says why, one that is dropped does not',
  async t => {
    const said: string[] = []
    const onTrouble = (why: string): void => void said.push(why)
    const store = new SnapshotStore(shortFolder(t), { onTrouble })
    const key = store.key('dropped')
    const dropped = await draftOf(store, key)
    await dropped[Symbol.asyncDispose]()
    t.same(said, [])
    await using draft = await draftOf(store, key)
    draft.failed(new Error('the disk is full'))
    t.same(said, ['the disk is full'])
  },
)

t.test('a snapshot that QEMU does not load is told and gone', async t => {
  const said: string[] = []
  const store = new SnapshotStore(shortFolder(t), {
    onTrouble: why => said.push(why),
  })
  const key = store.key('refused')
  await take(store, key)
  const snapshot = await store.find(key, RAM)
  await store.forget(snapshot!)
  t.match(said, [snapshot!.folder])
  t.equal(await store.find(key, RAM), undefined)
})

t.test('a draft that is not kept leaves nothing', async t => {
  const root = shortFolder(t)
  const store = new SnapshotStore(root)
  const key = store.key('not kept')
  {
    await using draft = await draftOf(store, key)
    t.ok(existsSync(draft.memory))
    t.equal(await store.begin(key, MACHINE), undefined, 'one at a time')
  }
  t.same(readdirSync(root), [])
  t.ok(await store.begin(key, MACHINE), 'and then another')
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
  t.same(
    readdirSync(root).sort(),
    [key, memoryIn(root)].sort(),
    'nothing else is left',
  )
})

t.test('without its memory it is none', async t => {
  const root = shortFolder(t)
  const store = new SnapshotStore(root)
  const key = store.key('memory')
  await take(store, key)
  const other = [{ id: 'ram', size: 1 }]
  t.equal(await store.find(key, other), undefined, 'of another size')
  t.equal(await store.find(key, [...RAM, ...other]), undefined)
  rmSync(join(root, memoryIn(root), 'ram'))
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
    const path = join(root, key, 'notes.json')
    const { devices, memoryName } = JSON.parse(readFileSync(path, 'utf8')) as {
      readonly devices: string
      readonly memoryName: string
    }
    const names = `"devices":"${devices}","memoryName":"${memoryName}",`
    writeFileSync(path, notes.replace('{"', `{${names}"`))
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

t.test('snapshots share a memory', async t => {
  const root = shortFolder(t)
  const store = new SnapshotStore(root)
  const [one, other] = [store.key('one'), store.key('other')]
  await take(store, one)
  const draft = await store.begin(other, MACHINE)
  const [known] = draft!.memories
  t.same(draft!.memories, [
    { name: memoryIn(root), folder: join(root, memoryIn(root)) },
  ])
  await draft![Symbol.asyncDispose]()
  await take(store, other, known!.name)
  const found = await store.find(other, RAM)
  t.equal(found?.memory, known!.folder)
  t.equal((await store.find(one, RAM))?.memory, known!.folder)
  const machine = 'f'.repeat(32)
  await using foreign = await store.begin(store.key('third'), machine)
  t.same(foreign?.memories, [], 'of another machine')
  await store.forget(found!)
  t.ok(await store.find(one, RAM), 'the other stays')
})

/** Memories of a store and what is left of them when one more comes. */
const crowd = async (t: Test, usedBefore: readonly number[]) => {
  const root = shortFolder(t)
  const store = new SnapshotStore(root, { room: 4 * 60 * 1024 })
  const keys = usedBefore.map((_, i) => store.key(`number ${i}`))
  for (const [i, days] of usedBefore.entries()) {
    await take(store, keys[i]!)
    const found = await store.find(keys[i]!, RAM)
    const time = Date.now() / 1000 - days * 24 * 3600
    utimesSync(found!.memory, time, time)
  }
  const newest = store.key('the newest')
  await take(store, newest)
  const left = await Promise.all(keys.map(key => store.find(key, RAM)))
  t.ok(await store.find(newest, RAM), 'the newest stays')
  const folders = keys.filter(key => existsSync(join(root, key)))
  return { left: left.map(found => found !== undefined), folders, keys }
}

t.test('those that were not used for days make room', async t => {
  const { left, folders, keys } = await crowd(t, [5, 9, 0, 4])
  t.same(left, [true, false, true, true])
  t.same(
    folders,
    keys.filter((_, i) => left[i]),
    'snapshots go with their memory',
  )
})

t.test('of those that are used one makes room, and not the oldest', async t => {
  const gone = new Set<number>()
  for (let i = 0; i < 40; i++) {
    const { left } = await crowd(t, [2, 1, 0.5, 0])
    t.equal(left.filter(stays => !stays).length, 1)
    gone.add(left.indexOf(false))
  }
  t.ok(gone.size > 1, `of four ${gone.size} went`)
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
