import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { ModuleRig, input, platform } from '../testing/module-rig.ts'
import type { Range } from '../memory/range.ts'
import { LEAF } from './leaves.ts'
import { validCmrs } from './platform.ts'
import { tdmrInfoSize } from './tdmr-info.ts'

/**
 * Answers of Intel's own code (module 1.5.01; the same in 1.5.05), recorded on
 * generated input: a status is compared in all its 64 bits.
 */
const vectors = <T>(name: string): T[] =>
  gunzipSync(readFileSync(`harness/tdx/vectors/${name}.jsonl.gz`))
    .toString()
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as T)

type Pair = readonly [string, string]

const rangeOf = ([start, end]: Pair): Range => ({
  start: Number(start),
  end: Number(end),
})

interface CmrVector {
  readonly physicalBits: number
  readonly cmrs: readonly Pair[]
  readonly valid: boolean
}

t.test('600 CMR tables', async t => {
  const all = vectors<CmrVector>('cmr-table')
  t.equal(all.length, 600)
  const wrong = all.flatMap(({ physicalBits, cmrs, valid }, i) =>
    validCmrs({ physicalBits, cmrs: cmrs.map(rangeOf) }) === valid ? [] : [i],
  )
  t.same(wrong, [], 'numbers of the tables that are judged wrongly')
})

interface Tdmr {
  readonly base: string
  readonly size: string
  readonly pamt1g: Pair
  readonly pamt2m: Pair
  readonly pamt4k: Pair
  readonly reserved: readonly Pair[]
}

interface ConfigVector {
  readonly physicalBits: number
  readonly keyids: { readonly mktme: number; readonly tdx: number }
  readonly lps: number
  readonly lpsInitialised: number
  readonly sysInit: boolean
  readonly cmrs: readonly Pair[]
  readonly rcx: string
  readonly rdx: string
  readonly r8: string
  readonly tdmrInfoAddresses: readonly string[]
  readonly tdmrs: readonly Tdmr[]
  readonly status: string
  readonly configured: boolean
}

const u64s = (values: readonly string[]): Buffer => {
  const bytes = Buffer.alloc(8 * values.length)
  values.forEach((value, i) => bytes.writeBigUInt64LE(BigInt(value), 8 * i))
  return bytes
}

const tdmrBytes = (tdmr: Tdmr): Buffer => {
  const { base, size, pamt1g, pamt2m, pamt4k, reserved } = tdmr
  const bytes = Buffer.alloc(tdmrInfoSize(16))
  u64s([base, size, ...pamt1g, ...pamt2m, ...pamt4k, ...reserved.flat()]).copy(
    bytes,
  )
  return bytes
}

/** Addresses without their KeyID: where the bytes are. */
const physical = (address: string, bits: number): number =>
  Number(BigInt(address) % (1n << BigInt(bits)))

const answerTo = async (vector: ConfigVector): Promise<[bigint, boolean]> => {
  const { physicalBits, lps, tdmrInfoAddresses, tdmrs } = vector
  const rig = new ModuleRig({
    ...platform,
    physicalBits,
    keyids: vector.keyids,
    cmrs: vector.cmrs.map(rangeOf),
    lps,
    packageOf: Array.from({ length: lps }, () => 0),
  })
  if (vector.sysInit) await rig.call(LEAF.SYS_INIT)
  for (let cpu = 0; cpu < vector.lpsInitialised; cpu++)
    await rig.call(LEAF.SYS_LP_INIT, { cpu })
  const { memory } = rig
  await memory.write(
    physical(vector.rcx, physicalBits),
    u64s(tdmrInfoAddresses),
  )
  for (const [i, tdmr] of tdmrs.entries())
    await memory.write(
      physical(tdmrInfoAddresses[i]!, physicalBits),
      tdmrBytes(tdmr),
    )
  const outcome = await rig.module.call(
    input(LEAF.SYS_CONFIG, {
      rcx: BigInt(vector.rcx),
      rdx: BigInt(vector.rdx),
      r8: BigInt(vector.r8),
    }),
  )
  return [
    outcome.kind === 'completed' ? outcome.status : -1n,
    rig.module.state === 'SYSCONFIG_DONE',
  ]
}

t.test('1,200 calls of SYS.CONFIG', async t => {
  const all = vectors<ConfigVector>('sys-config')
  t.equal(all.length, 1200)
  const wrong: string[] = []
  for (const [i, vector] of all.entries()) {
    const [status, configured] = await answerTo(vector)
    if (status !== BigInt(vector.status) || configured !== vector.configured)
      wrong.push(
        `${i}: expected ${vector.status}, found ${status.toString(16)}`,
      )
  }
  t.same(wrong, [], 'calls that are answered in another way')
})
