import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { DEFAULT_BOARD } from '../../board/index.ts'
import { GIB, MIB } from '../../base/units.ts'
import { holds } from '../../testing/property.ts'
import { apicIds, kernelCmdline, qemuArgv } from './argv.ts'
import { PacketReader, encodePacket, registerHex } from './gdb-packets.ts'
import { findQemu } from './probe.ts'
import { Incoming } from './sockets.ts'

const plan = {
  binary: '/usr/bin/qemu-system-x86_64',
  accel: 'tcg' as const,
  physicalBits: 46,
  kernel: '/c/vmlinux',
  answersSocket: undefined,
  initramfs: '/t/initramfs',
  cmdline: 'quiet a=b,c',
  vmx: undefined,
  patchesItself: false,
  consolePath: '/t/console.log',
  gdbSocket: '/t/a,b/gdb',
  qmpSocket: '/t/qmp',
  stays: false,
  srat: undefined,
}
const board = DEFAULT_BOARD
const firmware = { e820: undefined, srat: undefined }

t.test('the whole command line of a machine with nodes', async t => {
  const argv = qemuArgv({
    ...plan,
    guestMemory: { kind: 'own' },
    machine: {
      board,
      memory: { size: 4 * GIB, nodes: [2560 * MIB, 1536 * MIB], dimms: [] },
      cpus: 4,
      packages: 2,
      cpuModel: 'sapphire-rapids',
      nodeCpus: [
        [0, 1],
        [2, 3],
      ],
      firmware,
    },
  })
  t.equal(
    argv.join(' '),
    '/usr/bin/qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot ' +
      '-machine pc-q35-7.2,sata=off,smbus=off -accel tcg ' +
      '-cpu max,vendor=GenuineIntel,family=6,model=143,stepping=8,phys-bits=46 ' +
      '-smp cpus=4,sockets=2,cores=2,threads=1 -m 4194304k ' +
      '-object memory-backend-ram,id=ram0,size=2684354560,reserve=off -numa node,nodeid=0,memdev=ram0 ' +
      '-object memory-backend-ram,id=ram1,size=1610612736,reserve=off -numa node,nodeid=1,memdev=ram1 ' +
      '-numa cpu,node-id=0,socket-id=0,core-id=0,thread-id=0 -numa cpu,node-id=0,socket-id=0,core-id=1,thread-id=0 ' +
      '-numa cpu,node-id=1,socket-id=1,core-id=0,thread-id=0 -numa cpu,node-id=1,socket-id=1,core-id=1,thread-id=0 ' +
      '-kernel /c/vmlinux -initrd /t/initramfs -append quiet a=b,c ' +
      '-chardev file,id=console,path=/t/console.log -serial chardev:console ' +
      '-S -chardev socket,id=gdb,path=/t/a,,b/gdb,server=off -gdb chardev:gdb ' +
      '-chardev socket,id=qmp,path=/t/qmp,server=off -mon chardev=qmp,mode=control',
  )
})

t.test('a machine without nodes, under KVM', async t => {
  const argv = qemuArgv({
    ...plan,
    accel: 'kvm',
    guestMemory: { kind: 'own' },
    machine: {
      board,
      memory: { size: GIB, nodes: [], dimms: [] },
      cpus: 1,
      packages: 1,
      cpuModel: 'sapphire-rapids',
      nodeCpus: [],
      firmware,
    },
    srat: '/t/a,b/srat',
  })
  t.ok(argv.includes('file=/t/a,,b/srat'))
  t.ok(argv.includes('memory-backend=ram'))
  t.ok(argv.includes('host'))
  t.notOk(argv.includes('-numa'))
  const plain = { hibernates: false }
  t.notMatch(kernelCmdline('kvm', plain, []), 'nolapic_timer')
  t.match(
    kernelCmdline('tcg', plain, ['mem=1G']),
    /console=ttyS0 .*nokaslr .*nolapic_timer mem=1G$/,
  )
  const hibernating = { hibernates: true }
  t.match(kernelCmdline('tcg', hibernating, ['mem=1G']), / nohibernate mem=1G$/)
  t.notMatch(
    kernelCmdline('tcg', hibernating, ['hibernate=nocompress']),
    'nohibernate',
  )
})

t.test('APIC IDs have room for a power of two of cores', async t => {
  const ids = (cpus: number, packages: number) =>
    apicIds({
      cpus,
      packages,
      nodeCpus: [],
      board,
      firmware,
      cpuModel: 'sapphire-rapids',
      memory: { size: GIB, nodes: [], dimms: [] },
    })
  t.same(ids(4, 2), [0, 1, 2, 3])
  t.same(ids(6, 2), [0, 1, 2, 4, 5, 6])
  t.same(ids(2, 2), [0, 1])
})

t.test('packets survive any chunks', async t => {
  t.equal(encodePacket('OK'), '$OK#9a')
  const payload = fc.stringMatching(/^[0-9a-zA-Z:;,.]{0,30}$/)
  holds(
    t,
    'payloads come back, in order',
    fc.property(
      fc.array(payload, { maxLength: 5 }),
      fc.integer({ min: 1, max: 9 }),
      (payloads, step) => {
        const stream = payloads.map(text => `+${encodePacket(text)}`).join('')
        const reader = new PacketReader()
        const read: string[] = []
        for (let at = 0; at < stream.length; at += step)
          read.push(...reader.push(stream.slice(at, at + step)))
        return JSON.stringify(read) === JSON.stringify(payloads)
      },
    ),
  )
  t.throws(() => new PacketReader().push('$OK#00'), /checksum 00/)
  t.equal(registerHex(0x1122334455667788n, 8), '8877665544332211')
  t.equal(registerHex(0x46n, 4), '46000000')
})

t.test('QEMU: missing, too old, unreadable, good', async t => {
  const path = process.env['PATH']
  const cache = process.env['XDG_CACHE_HOME']
  const folder = t.testdir({ cache: {}, none: {}, bin: {} })
  t.teardown(() => {
    process.env['PATH'] = path
    if (cache === undefined) delete process.env['XDG_CACHE_HOME']
    else process.env['XDG_CACHE_HOME'] = cache
  })
  process.env['XDG_CACHE_HOME'] = join(folder, 'cache')
  const program = join(folder, 'bin', 'qemu-system-x86_64')
  const pretend = (text: string, machines = ''): void => {
    writeFileSync(
      program,
      `#!/bin/sh\n[ "$1" = -machine ] && echo '${machines}' || echo '${text}'\n`,
    )
    chmodSync(program, 0o755)
    process.env['PATH'] = `${join(folder, 'bin')}:${path ?? ''}`
  }
  process.env['PATH'] = join(folder, 'none')
  await t.rejects(findQemu(), {
    code: 'NO_QEMU',
    message: /found none: install qemu-system-x86 7.2 or later/,
  })
  pretend('QEMU emulator version 6.2.0 (Debian)')
  await t.rejects(findQemu(), {
    code: 'OLD_QEMU',
    message: /expected QEMU 7.2 or later, found 6.2.0/,
  })
  pretend('I am something else')
  await t.rejects(findQemu(), {
    code: 'NO_QEMU',
    message: /to name a version, found 'I am something else'/,
  })
  pretend('QEMU emulator version 10.0.2', 'pc-q35-9.9 old')
  await t.rejects(findQemu(), {
    code: 'QEMU_BOARD',
    message: /none of the machine types .* 7\.2, 10\.0, 11\.1/,
  })
  pretend('QEMU emulator version 10.0.3', 'pc-q35-10.0 PC')
  t.match(await findQemu(), {
    binary: program,
    version: '10.0.3',
    board: { id: 'q35-10.0' },
    description: 'QEMU 10.0.3, a firmware that was not found, board q35-10.0',
  })
  pretend('QEMU emulator version 12.0.0', 'pc-q35-11.1 PC')
  t.match(await findQemu(), {
    board: { id: 'q35-11.1' },
    description: /QEMU 12\.0 was not tried \(7\.2, 10\.0, 11\.1 were\)/,
  })
})

t.test('a socket path that cannot be bound is explained', async t => {
  const long = join(t.testdir(), 'x'.repeat(120))
  await t.rejects(Incoming.listen(long), {
    code: 'SOCKET_PATH',
    message: /set TMPDIR to a shorter folder/,
  })
})
