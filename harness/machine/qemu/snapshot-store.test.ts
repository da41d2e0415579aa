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
import { InfraError } from '../../base/errors.ts'
import { shortFolder } from '../../testing/cli.ts'
import { NO_ROOM } from './snapshot-room.ts'
import { type Draft, SnapshotStore } from './snapshot-store.ts'

const NOTES = {
  cmdline: 'console=ttyS0',
  keyidReads: 1,
  regionsAtBoot: [{ start: 0x100000, end: 0x80000000, node: 0 }],
}

const RAM = [{ id: 'ram', size: 48 * 1024 }]

/** Key of a machine. */
const MACHINE = '0123456789abcdef0123456789abcdef'

/** Room for so many snapshots with a memory of their own. */
const roomFor = (count: number): number => count * 60 * 1024

interface Taken {
  /** Name of a memory that is there; default: one of its own. */
  readonly memory?: string
  readonly ram?: typeof RAM
}

const draftOf = async (
  store: SnapshotStore,
  key: string,
  { memory, ram = RAM }: Taken = {},
): Promise<Draft> => {
  const draft = await store.begin(key, MACHINE)
  if (!draft) throw new Error('expected a draft')
  writeFileSync(draft.devices, 'devices')
  if (memory !== undefined) return draft
  mkdirSync(draft.memory)
  for (const { id, size } of ram)
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

const take = async (
  store: SnapshotStore,
  key: string,
  taken: Taken = {},
): Promise<void> => {
  await using draft = await draftOf(store, key, taken)
  await draft.keep({
    console: Buffer.from('console\n'),
    notes: NOTES,
    memoryName: taken.memory,
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
    const store = new SnapshotStore(shortFolder(t), {
      room: roomFor(4),
      onTrouble,
    })
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
  await take(store, other, { memory: known!.name })
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
  const store = new SnapshotStore(root, { room: roomFor(4), replacing: 1 })
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

/** Room for so many that none of them is large. */
const MANY = 80
const SMALL = Array.from({ length: MANY }, (_, i) => `small ${i}`)

const begins = async (
  store: SnapshotStore,
  key: string,
): Promise<number | undefined> => {
  await using draft = await store.begin(store.key(key), MACHINE)
  return draft?.room
}

/** Which of those that are small are there; finding them would be a use. */
const staying = (root: string, store: SnapshotStore): string[] =>
  SMALL.filter(name => existsSync(join(root, store.key(name))))

const fill = async (store: SnapshotStore): Promise<void> => {
  for (const name of SMALL)
    if (((await begins(store, name)) ?? 0) >= roomFor(1))
      await take(store, store.key(name))
}

t.test(
  'what is used makes room for few others, and which is chance',
  async t => {
    const root = shortFolder(t)
    const room = roomFor(MANY)
    const usual = new SnapshotStore(root, { room, replacing: 0 })
    await fill(usual)
    const before = staying(root, usual)
    t.ok(before.length > MANY / 2 && before.length <= MANY)
    t.ok(((await begins(usual, 'another')) ?? 0) < 48 * 1024, 'little is left')
    const store = new SnapshotStore(root, { room, replacing: 1 })
    const gone: string[] = []
    for (let i = 0; i < 8; i++) {
      const was = staying(root, store)
      await take(store, store.key(`another ${i}`))
      const is = staying(root, store)
      gone.push(...was.filter(name => !is.includes(name)))
    }
    t.ok(gone.length > 0 && gone.length <= 8, `${gone.length} went`)
    // They were taken in this order, and not used since.
    t.notSame(gone, before.slice(0, gone.length), 'not the oldest ones')
  },
)

t.test('a large one takes the place of none, and goes first', async t => {
  const root = shortFolder(t)
  const room = roomFor(MANY)
  const ram = [{ id: 'ram', size: 40 * 48 * 1024 }]
  const store = new SnapshotStore(root, { room, replacing: 0 })
  const large = store.key('large')
  await take(store, large, { ram })
  await fill(store)
  const before = staying(root, store)
  t.ok(await store.find(large, ram), 'it stays while nobody needs its place')
  const replacing = new SnapshotStore(root, { room, replacing: 1 })
  const most = await begins(replacing, 'more')
  t.ok(
    most !== undefined && most < 40 * 48 * 1024,
    'another large one must wait',
  )
  await take(replacing, replacing.key('more'))
  t.notOk(await store.find(large, ram))
  t.same(staying(root, store), before, 'no small one went')
})

t.test(
  'that others have the room is no trouble, another failure is',
  async t => {
    const told: string[] = []
    const onTrouble = (why: string): void => void told.push(why)
    const store = new SnapshotStore(shortFolder(t), {
      room: roomFor(4),
      onTrouble,
    })
    await using draft = await store.begin(store.key('one'), MACHINE)
    draft?.failed(new InfraError(NO_ROOM, 'it does not fit'))
    t.same(told, [])
    draft?.failed(new InfraError('SNAPSHOT', 'QEMU refused'))
    t.same(told, ['QEMU refused'])
  },
)

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
