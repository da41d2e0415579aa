import t from 'tap'
import { GIB, MIB } from '../base/units.ts'
import { blockContent, isAddable, memoryBlocks } from './memory-block.ts'

t.test('blocks of a range, without parts of a block', async t => {
  t.same(memoryBlocks({ start: 4 * GIB, end: 4 * GIB + 256 * MIB }), [
    { start: 4 * GIB, end: 4 * GIB + 128 * MIB },
    { start: 4 * GIB + 128 * MIB, end: 4 * GIB + 256 * MIB },
  ])
  t.same(memoryBlocks({ start: 64 * MIB, end: 300 * MIB }), [
    { start: 128 * MIB, end: 256 * MIB },
  ])
  t.same(memoryBlocks({ start: 64 * MIB, end: 128 * MIB }), [])
})

t.test('what a kernel adds', async t => {
  t.ok(isAddable({ start: 6 * GIB, end: 7 * GIB }))
  t.notOk(isAddable({ start: 6 * GIB, end: 7 * GIB + 64 * MIB }))
  t.notOk(isAddable({ start: 6 * GIB + 64 * MIB, end: 7 * GIB + 64 * MIB }))
})

t.test('blocks that never go offline', async t => {
  const block = { start: 128 * MIB, end: 256 * MIB }
  const memory = (start: number, end: number, node = 0) => ({
    start: start * MIB,
    end: end * MIB,
    node,
  })
  t.same(blockContent(block, [memory(0, 512)]), {
    exists: true,
    fixed: undefined,
  })
  t.same(
    blockContent(block, [memory(0, 200), memory(200, 512)]),
    { exists: true, fixed: undefined },
    'two ranges that touch',
  )
  t.match(blockContent(block, [memory(0, 200), memory(201, 512)]), {
    fixed: 'it has a hole',
  })
  t.match(blockContent(block, [memory(0, 200), memory(200, 512, 1)]), {
    fixed: 'it is on two nodes',
  })
  t.same(blockContent(block, [memory(256, 512)]), {
    exists: false,
    fixed: undefined,
  })
})
