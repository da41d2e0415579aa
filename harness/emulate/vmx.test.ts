import t from 'tap'
import type { Registers } from './debugger.ts'
import { VMX_BASIC, Vmx } from './vmx.ts'

const CARRY = 1n
const registers = (eflags: bigint): Registers =>
  ({ eflags }) as unknown as Registers

t.test('each CPU is in VMX operation by itself', async t => {
  const vmx = new Vmx()
  t.equal(vmx.vmxoff(0, registers(0x46n)), undefined, '#UD before VMXON')
  t.same(vmx.vmxon(0, registers(0x47n)), { eflags: 0x2n }, 'VMsucceed')
  t.ok(vmx.isOn(0))
  t.notOk(vmx.isOn(1))
  t.same(
    vmx.vmxon(0, registers(0x46n)),
    { eflags: 0x2n | CARRY },
    'VMfailInvalid in VMX operation',
  )
  t.equal(vmx.vmxoff(1, registers(0n)), undefined, 'another CPU')
  t.same(vmx.vmxoff(0, registers(0x47n)), { eflags: 0x2n })
  t.equal(vmx.vmxoff(0, registers(0n)), undefined, 'a second time')
})

t.test('VMX_BASIC is that of a CPU whose P-SEAMLDR may be called', async t => {
  t.equal((VMX_BASIC >> 60n) & 1n, 1n)
  t.ok((VMX_BASIC & 0x7fffffffn) > 0n, 'a revision')
  t.ok(((VMX_BASIC >> 32n) & 0x1fffn) <= 4096n, 'a VMCS fits into a page')
})
