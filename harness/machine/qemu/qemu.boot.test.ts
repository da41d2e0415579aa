import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { MODE, writeCpio } from '../../guest/cpio.ts'
import type { Evidence } from '../../judge/context.ts'
import { evidenceOf } from '../../run/evidence.ts'
import { Workspace } from '../../run/workspace.ts'
import { shortFolder } from '../../testing/cli.ts'
import { realKernels, realMachine } from '../../testing/real-boots.ts'
import { machineContract } from '../../testing/machine-contract.ts'
import { bodyOf, namedCase } from '../../testing/records.ts'

/** Boots with an init of the test's own, instead of the one with the trigger. */
const bootWithInit = async (
  t: Test,
  source: string,
  cell: object = {},
): Promise<Evidence> => {
  const folder = shortFolder(t)
  const init = join(folder, 'init')
  writeFileSync(join(folder, 'init.c'), source)
  execFileSync('gcc', [
    '-O1',
    '-static',
    '-nostdlib',
    '-ffreestanding',
    '-fno-pie',
    '-no-pie',
    '-o',
    init,
    join(folder, 'init.c'),
  ])
  const initramfs = join(folder, 'initramfs')
  writeFileSync(
    initramfs,
    writeCpio([
      { name: 'dev', mode: MODE.DIRECTORY | 0o755 },
      {
        name: 'dev/console',
        mode: MODE.CHARACTER_DEVICE | 0o600,
        device: { major: 5, minor: 1 },
      },
      {
        name: 'init',
        mode: MODE.FILE | 0o755,
        data: execFileSync('cat', [init]),
      },
    ]),
  )
  await using workspace = Workspace.create()
  const kernels = await realKernels(['upstream-6.12'], workspace)
  const kernel = kernels.get('upstream-6.12')!
  const machine = await realMachine({
    deadlines: { silence: 4000, total: 60_000 },
  })
  const directory = join(folder, 'boot')
  mkdirSync(directory)
  const record = await machine.boot(
    { kernel, ...bodyOf(cell), initramfs, directory },
    new AbortController().signal,
  )
  return await evidenceOf(record)
}

const SYSCALL = `
static long call(long n, long a, long b, long c) {
  long r;
  __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return r;
}
`

t.test(
  'a guest that hangs: where every CPU is, and what it said last',
  async t => {
    // init sleeps for ever: all CPUs stay in the kernel, wherever that is.
    const pause = `${SYSCALL}void _start(void) { for (;;) call(34, 0, 0, 0); }\n`
    const { record, tail } = await bootWithInit(t, pause, {
      machine: { memory: '1G', cpus: 2 },
    })
    t.equal(record.end, 'silence')
    t.same(
      record.stuck.map(({ cpu }) => cpu),
      [0, 1],
    )
    for (const { cpu, rip, symbol } of record.stuck) {
      t.ok(rip >= 0xffffffff80000000n, `CPU ${cpu} is in the kernel`)
      t.match(symbol, /^\w[\w.]*\+0x[0-9a-f]+$/, `CPU ${cpu}: ${symbol ?? ''}`)
    }
    t.ok(tail.some(line => line.includes('Run /init as init process')))
  },
)

t.test('a guest that resets itself', async t => {
  const reboot = `${SYSCALL}void _start(void) { for (;;) call(169, 0xfee1dead, 672274793, 0x01234567); }\n`
  t.equal((await bootWithInit(t, reboot)).record.end, 'reset')
})

t.test('a guest that powers off without a word of the trigger', async t => {
  const off = `${SYSCALL}void _start(void) { for (;;) call(169, 0xfee1dead, 672274793, 0x4321fedc); }\n`
  const { record, facts } = await bootWithInit(t, off)
  t.equal(record.end, 'exited')
  t.equal(facts.guest.trigger, null)
})

t.test('a guest that panics ends at once, with the panic', async t => {
  const { record, facts } = await bootWithInit(
    t,
    `${SYSCALL}void _start(void) { call(60, 3, 0, 0); }\n`,
  )
  t.equal(record.end, 'reset', 'panic=-1 resets it')
  t.match(facts.incidents, [
    { kind: 'panic', text: /Attempted to kill init! exitcode=0x00000300/ },
  ])
})

t.test('QEMU does what every machine does', async t => {
  const folder = shortFolder(t)
  const workspace = Workspace.create()
  t.teardown(() => workspace[Symbol.asyncDispose]())
  const kernels = await realKernels(['upstream-6.12'], workspace)
  const kernel = kernels.get('upstream-6.12')!
  machineContract(t, {
    machine: await realMachine(),
    item: namedCase({ machine: { memory: '1G' } }, 'a@b', kernel.name),
    kernel,
    initramfs: kernel.initramfs,
    folder,
  })
})

t.test('an aborted boot rejects and leaves nothing', async t => {
  const folder = shortFolder(t)
  await using workspace = Workspace.create()
  const kernels = await realKernels(['upstream-6.12'], workspace)
  const machine = await realMachine()
  const kernel = kernels.get('upstream-6.12')!
  const controller = new AbortController()
  const boot = machine.boot(
    {
      kernel,
      ...bodyOf({}),
      directory: folder,
      initramfs: kernel.initramfs,
    },
    controller.signal,
  )
  controller.abort(new Error('enough'))
  await t.rejects(boot, /enough/)
})

t.test('a bzImage boots, and is touched only once it is unpacked', async t => {
  const signal = new AbortController().signal
  await using workspace = Workspace.create()
  const names = ['upstream-6.12', 'v6-6.1']
  const kernels = await realKernels(names, workspace)
  const machine = await realMachine()
  // A failure behind SYS.CONFIG needs the MOVDIR64B of 6.12 patched away.
  const cells = [
    {},
    {
      tdx: {
        faults: [{ leaf: 'SYS.TDMR.INIT', status: '0x8000020000000001' }],
      },
    },
  ]
  for (const kernel of kernels.values()) {
    for (const [i, cell] of cells.entries()) {
      const record = await machine.boot(
        {
          kernel: { ...kernel, bootFile: kernel.built.bzImage! },
          ...bodyOf(cell),
          initramfs: kernel.initramfs,
          directory: await workspace.directory(`${kernel.name}-${i}`),
        },
        signal,
      )
      const { facts } = await evidenceOf(record)
      t.ok(record.start.argv.includes(kernel.built.bzImage!))
      t.equal(record.end, 'settled')
      t.same(facts.incidents, [])
      t.equal(
        facts.tdx.outcome,
        i === 0 ? 'initialized' : 'failed',
        `${kernel.name}: ${facts.tdx.message ?? ''}`,
      )
    }
  }
})
