import t from 'tap'
import { hex } from '../base/units.ts'
import { platform as usual } from '../testing/module-rig.ts'
import type { Platform } from '../tdx/platform.ts'
import type { Debugger, Registers } from './debugger.ts'
import type { KernelSites } from './kernel-sites.ts'
import { Msrs } from './msr.ts'
import type { Site } from './sites.ts'

const SITE: Site = {
  kind: 'keyid-msr',
  form: 'read-msr-call',
  symbol: 'detect_keyids',
  address: 0x1000n,
  length: 5,
}

/** A call with RSI 0x2000: what it returns, and what it leaves there. */
const call = async (
  safeMsrReadGives: KernelSites['safeMsrReadGives'],
  keyidMsrFaults: boolean,
): Promise<string> => {
  let stored = ''
  const guest: Pick<Debugger, 'writeVirtual'> = {
    writeVirtual: (_, address, bytes) => {
      stored = `${hex(address)}: ${Buffer.from(bytes).toString('hex')}`
      return Promise.resolve()
    },
  }
  const kernel: Partial<KernelSites> = { safeMsrReadGives }
  const platform: Platform = { ...usual, keyidMsrFaults }
  const msrs = new Msrs(guest as Debugger, kernel as KernelSites, platform)
  const registers = { rsi: 0x2000n } as Registers
  const { rax } = await msrs.read(0, SITE, registers)
  return `${hex(rax!)}, ${stored}`
}

t.test(
  'native_read_msr_safe() gave the value, and gives the error',
  async t => {
    const { mktme, tdx } = usual.keyids
    const value = (BigInt(tdx) << 32n) | BigInt(mktme)
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(value)
    t.equal(await call('value', false), `${hex(value)}, 0x2000: 00000000`)
    t.equal(await call('error', false), `0x0, 0x2000: ${bytes.toString('hex')}`)
    t.equal(await call('value', true), '0x0, 0x2000: fbffffff')
    t.equal(await call('error', true), '0xfffffffb, 0x2000: 0000000000000000')
  },
)
