import t from 'tap'
import { HEAD, complaints } from '../testing/scenarios.ts'

t.test('every mistake is named with its place and what is allowed', async t => {
  const cases: [text: string, messages: RegExp[]][] = [
    ['- a\n', [/^1:1: expected a scenario/]],
    ['name: [\n', [/^2:1: /]],
    ['a: &x [*x]\n', [/expected the reason|unknown key|alias|circular/i]],
    [
      `${HEAD}machine: { memroy: 4G }\n`,
      [
        /^3:12: unknown key 'memroy'; did you mean 'memory'\? \(allowed: cpus, cpuModel, packages, memory, nodes, firmware, needs\)/,
      ],
    ],
    [
      `${HEAD}machine: { memory: [1] }\n`,
      [/^3:20: expected the memory of the machine such as 512M/],
    ],
    [`${HEAD}machine: { memory: 4X }\n`, [/^3:20: .* found '4X'/]],
    [
      `${HEAD}machine: { memory: 256M }\n`,
      [/^3:20: expected at least 512M .* found 256M/],
    ],
    [
      `${HEAD}machine: { memory: 4G, cpus: 2, needs: { nodes: 2, memory: 8G, cpus: 4 } }\n`,
      [
        /^3:\d+: expected a machine with 2 nodes, found 1/,
        /^3:\d+: expected a machine with 8G of memory, found 4G/,
        /^3:\d+: expected a machine with 4 CPUs, found 2/,
      ],
    ],
    [
      `${HEAD}machine: { needs: { nodes: 2 } }\ncmdline: { memmap: ['64M$@node2', '1G$@node1+8G', '1G@@some'] }\n`,
      [
        /^4:\d+: '\$@node2': the machine has no such memory/,
        /^4:\d+: '\$@node1\+8G' is 0x300000000, which is outside of the machine's memory/,
        /^4:\d+: '@some' is no place: expected one of @node0/,
      ],
    ],
    [
      `${HEAD}machine: {}\n`,
      [/^3:10: expected 'memory' .*, 'nodes' or 'needs'/],
    ],
    [
      `${HEAD}machine: { memory: 4G, nodes: [{ memory: 4G }] }\n`,
      [/^3:20: 'memory' and 'nodes' exclude each other/],
    ],
    [`${HEAD}machine: { memory: 4G, cpus: two }\n`, [/^3:30: .*expected/i]],
    [
      `${HEAD}machine: { memory: 4G, cpus: 3, packages: 2 }\n`,
      [/^3:43: 3 CPUs cannot be spread/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: trigger\n`,
      [/^4:8: expected a list of steps/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: [plug: { name: a, memory: 1G }, kexec: { memmap: ['64M*1G'], append: [nokaslr] }, trigger]\n`,
      [
        /^4:\d+: kexec ends the kernel: it is the last step/,
        /^4:\d+: before kexec only trigger and offline of a CPU are possible/,
        /^4:\d+: memmap=64M\*1G: the kernel would not parse/,
        /^4:\d+: 'nokaslr' is set by the rig itself/,
      ],
    ],
    [
      `${HEAD}machine: { memory: 4G }\ntdx: { faults: [{ leaf: SYS.RD, status: VMfailInvalid }] }\nsteps: [kexec: {}]\n`,
      [/^4:\d+: the model does not follow faults over a kexec/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nexpect: { kexec: { tdx: failed } }\n`,
      [/^4:\d+: no step starts another kernel with kexec/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: [machineCheck: pampt, trigger]\n`,
      [/^4:23: expected pamt, timer or an address such as .* found 'pampt'/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: [machineCheck: pamt, trigger]\n`,
      [/^4:\d+: a machine check ends the kernel: it is the last step/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: [tirgger]\n`,
      [/^4:9: expected 'trigger', 'retry', \{ plug: /],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: [retry, trigger]\n`,
      [/^4:9: expected it right behind trigger or another retry/],
    ],
    [
      `${HEAD}machine: { memory: 4G, cpus: 2 }\nsteps: [trigger, { offline: 1 }, retry]\n`,
      [/^4:\d+: expected it right behind trigger/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: [trigger, retry, kexec: {}]\n`,
      [/^4:\d+: before kexec only trigger and offline of a CPU are possible/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: [trigger, { update: { module: '1.5.34' } }, { machineCheck: 3G }]\n`,
      [/^4:\d+: the model does not follow a machine check after an update/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps:\n  - trigger\n  - plug: { name: a, memory: 101M, node: 1 }\n  - online: b\n  - plug: { name: a, memory: 1G }\n  - trigger\n`,
      [
        /^6:30: expected a multiple of 2M, .* found 101M/,
        /^6:42: there is no node 1: the machine has 1/,
        /^7:13: no DIMM 'b' was plugged before \(there is: a\)/,
        /^8:19: there is a DIMM 'a' already/,
        /^9:5: a kernel is asked once; asking it again is the step retry/,
      ],
    ],
    [
      `${HEAD}machine: { memory: 64G }\nsteps: [{ plug: { name: a, memory: 1G } }, trigger]\n`,
      [
        /^4:8: DIMMs can be plugged into machines whose memory ends below 0x1000000000/,
      ],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: [{ plug: { name: a, memory: 100T } }, trigger]\n`,
      [/^3:20: expected at most 512G of memory in all, with DIMMs/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: [trigger, { plug: { name: a, memory: -1G } }]\n`,
      [/^4:45: expected the memory of the DIMM such as .*found '-1G'/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: [trigger, { plug: { nmae: a, memory: 1G } }]\n`,
      [/^4:28: unknown key 'nmae'; did you mean 'name'/, /'name' is missing/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\ntdx: { module: '1.0', faults: [{ leaf: SYS.RD, status: '0x1' }] }\n`,
      [/^4:40: module 1\.0 has no SYS\.RD: the fault can never happen/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: [{ plug: { name: a, memory: 1G } }, trigger]\ncmdline: { append: [memhp_default_state=online] }\n`,
      [/^5:21: with DIMMs the kernel must not put memory online by itself/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps:\n  - plug: { name: a, memory: 1G, start: 0x180000001 }\n  - plug: { name: b, memory: 1G, start: 6G }\n  - plug: { name: c, memory: 1G, start: 64G }\n  - plug: { name: d, memory: 1G, start: 0x184000000 }\n`,
      [
        /^5:41: expected a multiple of 2M, found 0x180000001/,
        /^6:41: 'b' at .* overlaps the DIMM at/,
        /^7:41: DIMMs of this machine lie in \[0x180000000, /,
        /^8:41: 'd' at .* overlaps the DIMM at/,
      ],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps:\n  - offline: x\n  - offline: { name: a, start: 4G, end: 4G }\n  - offline: { name: b, start: 4100M, end: 5G }\n  - offline: { name: c, start: 3G, end: 3200M }\n  - offline: { name: a, start: 4G, end: 5G }\n  - unplug: a\n`,
      [
        /^5:14: no memory 'x' was plugged before/,
        /^6:14: expected start below end/,
        /^7:32: expected a multiple of 128M, the size of a memory block/,
        /^8:32: the machine has no RAM there: it is in \[0x0, /,
        /^9:14: 'a' has its addresses already: write offline: a/,
        /^10:13: no DIMM 'a' was plugged before/,
      ],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps:\n  - kmem: { name: a, start: 5G, end: 5248M, from: persistent }\n  - kmem: { name: a, start: 64G, end: 65G, from: soft-reserved }\n  - online: b\n`,
      [
        /^5:11: expected a device with a whole memory block \(128M\) behind its information block/,
        /^6:19: there is memory 'a' already/,
        /^6:29: the machine has no RAM there/,
        /^7:13: no DIMM 'b' was plugged before \(there is: a\)/,
      ],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: [{ kmem: { name: a, start: 5G, end: 6G, from: disk } }]\n`,
      [/^4:54: expected what the memory is: persistent or soft-reserved/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps:\n  - plug: { name: a, memory: 1026M, start: 0x182000000, as: virtio-mem }\n  - unplug: a\n  - plug: { name: b, memory: 1G, as: cxl }\n`,
      [/^7:38: expected the device: dimm or virtio-mem/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps:\n  - plug: { name: a, memory: 1026M, start: 0x182000000, as: virtio-mem }\n  - unplug: a\n`,
      [
        /^5:30: expected a multiple of 128M up to 1G, which is what the driver of virtio-mem adds/,
        /^5:44: expected a multiple of 128M for virtio-mem/,
        /^6:13: 'a' is virtio-mem: only DIMMs can be unplugged/,
      ],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nsteps: [{ offline: [] }]\n`,
      [/^4:20: expected the number of a CPU from 1 on, the name of memory/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nexpect: { staysOnline: [x] }\n`,
      [/^4:24: no step takes 'x' offline/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nexpect: { refused: [x] }\n`,
      [/^4:20: no step puts 'x' online/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nexpect: { on: { v7: { tdx: failed } } }\n`,
      [
        /^4:17: unknown key 'v7'; did you mean 'v6'\? \(allowed: v6, mainline-6.8, mainline-7.1\)/,
      ],
    ],
    [
      `${HEAD}machine: { memory: 4G }\nexpect: { on: { v6: { tdx: initialized, errno: -5 } } }\n`,
      [/^4:48: only 'tdx: failed' has an errno/],
    ],
    [
      `${HEAD}machine: { memory: 4G }\ntdx: { x2apic: maybe }\n`,
      [/^4:16: expected true or false/],
    ],
    [
      `${HEAD}machine:\n  nodes:\n    - { memory: 1G, cpus: 0-1 }\n    - { memory: 1G, cpus: 1 }\n`,
      [/^6:27: CPU 1 is on node 0 and on node 1/],
    ],
    [
      `${HEAD}machine:\n  nodes:\n    - { memory: 1G, cpus: 0-7 }\n`,
      [/^5:27: CPU 2 does not exist/],
    ],
    [
      `${HEAD}machine:\n  nodes:\n    - { memory: 1G, cpus: 0 }\n`,
      [/^5:5: CPU 1 is on no node/],
    ],
    [
      `${HEAD}machine:\n  nodes:\n    - { memory: 1G }\n    - { memory: 1G, start: 512M }\n`,
      [/^6:28: node 1 at .* overlaps node 0/],
    ],
    [
      `${HEAD}machine:\n  nodes:\n    - { memory: 1G }\n    - { memory: 1G, start: 3G }\n`,
      [/^6:28: node 1 starts at 0x40000000 on this machine/],
    ],
    [
      `${HEAD}kernels: [on]\nmachine: { memory: 1G }\n`,
      [/^3:11: there is no kernel 'on'; did you mean 'one'\?/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ncmdline: { memmap: ['64M?1G'] }\n`,
      [
        /^4:21: memmap=64M\?1G: the kernel would not parse '64M\?1G': unknown operator/,
      ],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ncmdline: { memmap: '64M$1G' }\n`,
      [/^4:20: expected a list such as/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ncmdline: { append: ['console=tty0'] }\n`,
      [/^4:21: 'console' is set by the rig/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ncmdline: { append: ['mem=x'] }\n`,
      [/^4:21: 'x': expected a size/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ntdx: { module: 1.5 }\n`,
      [
        /^4:16: expected '1.0', '1.5.01', '1.5.05', '1.5.34' or 'none' \(in quotes/,
      ],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ntdx: { cmrs: [{ start: 2G, end: 1G }] }\n`,
      [/^4:15: expected start below end/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nexpect: { tdx: initialised }\n`,
      [/^4:16: .*initialized/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nmatrix: { machine.cpu: [1] }\n`,
      [/^4:11: unknown key 'cpu'; did you mean 'cpus'/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nmatrix: { machine.cpus: [1, 0] }\n`,
      [/^4:29: /],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nmatrix: { machine.cpus: 3 }\n`,
      [/^4:25: expected a list of values/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nmatrix: { machine.cpus: [1, 1] }\n`,
      [/^4:\d+: two combinations are the same case/],
    ],
    [
      `${HEAD}machine: { memory: 600G }\n`,
      [/at most 512G of memory in all, found 600G/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ncmdline: { append: [quiet] }\n`,
      [/'quiet' is set by the rig/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ncmdline: { append: ['"console=x"'] }\n`,
      [/'console' is set by the rig/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ncmdline: { append: ['--'] }\n`,
      [/'--' would hide/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ncmdline: { append: [constructor] }\n`,
      [/^accepted$/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ntdx: { faults: [{ leaf: SYS.RD, status: '0x0' }] }\n`,
      [/expected the name of a status that is an error/],
    ],
    [
      `${HEAD}machine: { memory: 1G, cpus: 2, packages: 2 }\ntdx: { faults: [{ leaf: SYS.KEY.CONFIG, status: SYS_BUSI, package: 1 }] }\n`,
      [/did you mean SYS_BUSY/],
    ],
    [
      `${HEAD}machine: { memory: 1G, cpus: 2, packages: 2 }\ntdx: { faults: [{ leaf: SYS.KEY.CONFIG, status: SYS_BUSY, package: 2 }] }\n`,
      [/package 2 does not exist/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ntdx: { faults: [{ leaf: SYS.LP.INIT, status: '0x1', cpu: 7 }] }\n`,
      [/CPU 7 does not exist/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nexpect: { errno: -28 }\n`,
      [/only 'tdx: failed' has an errno/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nexpect: { tdx: failed, errno: 28 }\n`,
      [/an errno is negative/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nexpect: { tdx: failed, stage: done }\n`,
      [/'stage: done' contradicts 'tdx: failed'/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nexpect: { panic: x, stage: done }\n`,
      [/no other result/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nexpect: { regions: [{ start: 2M, end: 1M, node: 0 }] }\n`,
      [/expected start below end/],
    ],
    [
      `${HEAD}machine:\n  nodes: [{ memory: 768K }, { memory: 1047808K }]\n`,
      [/cannot end between 640K and 1M/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nmatrix: { machine: [{ memory: 1G }], machine.cpus: [1] }\n`,
      [/'machine.cpus' lies inside 'machine'/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nmatrix: { machine.cpus: [1], exclude: [{ machine.cpus: 3 }] }\n`,
      [/no combination has these values/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nmatrix: { ${'abcdefgh'
        .split('')
        .map(a => `${a}: [1,2,3,4,5,6,7,8,9]`)
        .join(', ')} }\n`,
      [/43046721 combinations, 4096 are allowed/],
    ],
    [
      `machine: { memory: 1G, cpus: 0 }\nwhy: 7\ncmdline: { memmap: ['1X$2G'] }\nexpect: { tdx: maybe }\nmatrx: {}\n`,
      [
        /^1:30: .*expected .*found 0/,
        /^2:6: expected the reason/,
        /^3:21: .*'1X\$2G'/,
        /^4:16: .*'maybe'/,
        /^5:1: unknown key 'matrx'/,
      ],
    ],
    [`${HEAD}machine: { memory: 1G }\nmatrx: {}\n`, [/did you mean 'matrix'/]],
    [`${HEAD}x: ${'y'.repeat(2 ** 20)}\n`, [/1048576 are allowed/]],
    [
      `name: 1\nmachine: { memory: 1G }\nfoo: 2\n`,
      [/^1:7: expected a short name/, /^3:1: unknown key 'foo'/],
    ],
  ]
  for (const [text, messages] of cases) {
    const found = await complaints(t, text)
    for (const message of messages)
      t.ok(
        found.some(line => message.test(line)),
        `${message}`,
        { found, text },
      )
  }
})

t.test('an alias bomb is refused', async t => {
  const levels = Array.from(
    { length: 9 },
    (_, i) =>
      `a${i}: &a${i} [${Array(9)
        .fill(i ? `*a${i - 1}` : 'x')
        .join(', ')}]`,
  )
  t.match(await complaints(t, `${levels.join('\n')}\n`), [/alias/i])
})
