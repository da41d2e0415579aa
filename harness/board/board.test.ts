import t from 'tap'
import { UsageError } from '../base/errors.ts'
import { AS_FOUND } from './as-found.ts'
import { modelOf } from './board.ts'
import { BOARDS, DEFAULT_BOARD, boardNamed } from './index.ts'
import { boardOfQemu } from './qemu-board.ts'

const TYPES = ['pc-q35-7.2', 'pc-q35-10.0', 'pc-q35-11.1']

const chosen = (
  version: readonly [number, number],
  types: readonly string[] = TYPES,
): string | undefined => {
  const found = boardOfQemu(version, new Set(types))
  return found && `${found.board.id}${found.doubt === undefined ? '' : ' ?'}`
}

t.test('each version of QEMU has its board', async t => {
  t.equal(chosen([7, 2]), 'q35-7.2')
  t.equal(chosen([10, 0]), 'q35-10.0')
  t.equal(chosen([11, 1]), 'q35-11.1')
})

t.test('other versions take the nearest older one, and say so', async t => {
  t.equal(chosen([8, 2]), 'q35-7.2 ?')
  t.equal(chosen([10, 2]), 'q35-10.0 ?')
  t.equal(chosen([12, 0]), 'q35-11.1 ?')
  t.match(boardOfQemu([12, 0], new Set(TYPES))!.doubt, '12.0 was not tried')
})

t.test('a machine type that QEMU dropped is not used', async t => {
  const [, ...newer] = TYPES
  t.equal(chosen([12, 0], newer), 'q35-11.1 ?')
  t.equal(chosen([8, 2], newer), 'q35-10.0 ?')
  t.equal(chosen([11, 1], ['pc-q35-10.0']), 'q35-10.0 ?')
  t.equal(chosen([20, 0], ['pc-q35-20.0']), undefined)
})

t.test('boards are found by their id, and ids are unique', async t => {
  t.equal(new Set(BOARDS.map(({ id }) => id)).size, BOARDS.length)
  for (const board of BOARDS) t.equal(boardNamed(board.id), board)
  t.equal(boardNamed('q36'), undefined)
})

t.test('a board as found has no model to predict by', async t => {
  t.throws(() => modelOf(AS_FOUND), UsageError)
  t.ok(modelOf(DEFAULT_BOARD))
})
