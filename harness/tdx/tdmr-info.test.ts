import t from 'tap'
import { decodeTdmrInfo, reservedSpans } from './tdmr-info.ts'

const G = 1n << 30n
const PAGE = 4096n

t.test('TDMR_INFO as it lies in memory', async t => {
  const bytes = Buffer.alloc(512)
  ;[G, 2n * G, 3n, 4n, 5n, 6n, 7n, 8n, PAGE, 2n * PAGE].forEach((value, i) =>
    bytes.writeBigUInt64LE(value, 8 * i),
  )
  const info = decodeTdmrInfo(bytes, 16)
  t.same(info.pamt, [
    { base: 7n, size: 8n },
    { base: 5n, size: 6n },
    { base: 3n, size: 4n },
  ])
  t.equal(info.reserved.length, 16)
  t.same(reservedSpans(info), [{ base: G + PAGE, size: 2n * PAGE }])
})
