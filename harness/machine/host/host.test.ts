import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import t, { type Test } from 'tap'
import { InfraError } from '../../base/errors.ts'
import { projectRoot } from '../../base/paths.ts'
import { hostFacts, logOf, markedBoot } from './found.ts'
import {
  entryText,
  loaderProblems,
  mangledBy,
  printedCmdline,
} from './loader.ts'
import { ipmitool, Power } from './power.ts'
import { parseAnswer } from './remote.ts'
import { SCRIPT_VERBS, rehearsalText } from './rehearsal.ts'
import { markOf, splitHostWords, testBootOf, testWords } from './words.ts'

const answer = (values: Readonly<Record<string, string | Buffer>>) =>
  new Map(
    Object.entries(values).map(([name, value]) => [name, Buffer.from(value)]),
  )

t.test('a menu entry of GRUB', t => {
  const entry = {
    kernel: 'vmlinuz-1',
    initrd: 'initrd-1',
    words: ['root=/dev/sda1', 'memmap=64M$0x40000000', 'a=;#{}'],
  }
  const text = entryText('grub', entry, { uuid: 'u-1', folder: '/tdxrig' })
  t.match(
    text,
    'linux /tdxrig/vmlinuz-1 root=/dev/sda1 memmap=64M\\$0x40000000 a=\\;#\\{\\}\n',
  )
  t.match(text, 'initrd /tdxrig/initrd-1\n')
  t.match(text, '--fs-uuid --set=root u-1\n')
  t.equal(
    printedCmdline('grub', entry, { uuid: '', folder: '/tdxrig' }),
    `BOOT_IMAGE=/tdxrig/vmlinuz-1 ${entry.words.join(' ')}`,
  )
  t.equal(
    printedCmdline('kexec', entry, { uuid: '', folder: '' }),
    entry.words.join(' '),
  )
  t.equal(
    entryText('kexec', entry, { uuid: '', folder: '' }),
    entry.words.join(' '),
  )
  t.equal(
    printedCmdline('systemd-boot', entry, { uuid: '', folder: '' }),
    `initrd=\\tdxrig\\initrd-1 ${entry.words.join(' ')}`,
  )
  t.match(
    entryText('systemd-boot', entry, { uuid: '', folder: '' }),
    'initrd /tdxrig/initrd-1\noptions root=/dev/sda1 memmap=64M$0x40000000',
  )
  t.same(mangledBy('grub', ['a="b c"', "d='e'", String.raw`f\g`, 'h$i']), [
    'a="b c"',
    "d='e'",
    String.raw`f\g`,
  ])
  t.same(mangledBy('kexec', ['a="b c"']), [])
  t.end()
})

t.test("a host's own words", t => {
  const { kept, dropped } = splitHostWords([
    'BOOT_IMAGE=/vmlinuz',
    'root=/dev/sda1',
    'ro',
    'quiet',
    'crashkernel=512M',
    'memmap=1G$4G',
    'kvm_intel.tdx=1',
    'console=ttyS0',
  ])
  t.same(kept, ['root=/dev/sda1', 'ro', 'console=ttyS0'])
  t.same(dropped, [
    'quiet',
    'crashkernel=512M',
    'memmap=1G$4G',
    'kvm_intel.tdx=1',
  ])
  t.equal(testBootOf(testWords('n1')), 'n1')
  t.equal(testBootOf(['ro']), undefined)
  t.end()
})

t.test('what a host answers is data', t => {
  t.equal(
    parseAnswer(Buffer.from('a aGVsbG8=\nb \n'), 'h').get('a')?.toString(),
    'hello',
  )
  for (const bad of [
    'hello\n',
    'a b c\n',
    'a !\n',
    '\u001b[31m x\n',
    '-a eA==\n',
  ])
    t.throws(() => parseAnswer(Buffer.from(bad), 'h'), InfraError)
  t.end()
})

const LOG = '[    0.000000] Linux version 7.3.4 (a@b)\n[    0.1] x\n'

t.test('the log of a boot from its first line', t => {
  t.equal(logOf(answer({ dmesg: LOG }))?.toString(), LOG)
  const journal = LOG.replaceAll('] ', '] spr-1 kernel: ')
  t.equal(logOf(answer({ 'dmesg-cut': 'x', journal }))?.toString(), LOG)
  t.equal(logOf(answer({ 'dmesg-cut': 'x', journal: 'x' })), undefined)
  t.end()
})

t.test('one boot of a serial console', t => {
  const before = '[   30.1] reboot: Restarting system\r\nGRUB\r\n'
  const ours =
    '[    0.000000] Linux version 7.3.4\r\n[    0.000000] Command line: a tdxrig.boot=m1 b\r\n'
  t.equal(
    markedBoot(Buffer.from(before + ours + 'login:'), markOf('m1'))?.toString(),
    `${ours}login:`,
  )
  t.equal(markedBoot(Buffer.from(before + ours), markOf('m2')), undefined)
  t.equal(markedBoot(Buffer.from('tdxrig.boot=m1'), markOf('m1')), undefined)
  t.end()
})

t.test('what a host is', t => {
  const found = hostFacts(
    'h',
    answer({
      'boot-id': 'b1\n',
      cmdline: 'root=/dev/sda1 ro\n',
      release: '7.3.4',
      memmap:
        '0x100000000 0x17fffffff System RAM\n0x0 0x9fbff System RAM\n0x9fc00 0xfffff Reserved\n',
      cpus: '1 4 -1\n0 2 -1\n10 4 -1\n',
      dmesg: `${LOG}[    0.2] virt/tdx: BIOS enabled: private KeyID range [32, 64)\n`,
    }),
  )
  t.same(found.machine.e820, [
    { start: 0, end: 0x9fc00, type: 1 },
    { start: 0x9fc00, end: 0x100000, type: 2 },
    { start: 0x100000000, end: 0x180000000, type: 1 },
  ])
  t.match(found.machine, {
    cpus: 3,
    packageOf: [0, 1, 1],
    keyids: { mktme: 31, tdx: 32 },
  })
  t.equal(found.bootId, 'b1')
  for (const bad of [
    { memmap: '0x0 zz System RAM' },
    { memmap: '0x0 0xfff Nobody knows' },
    { memmap: '0xffff 0x0 Reserved' },
    {},
    { memmap: '0x0 0xfffff System RAM', srat: 'nonsense' },
    { memmap: '0x0 0xfffff System RAM', srat: Buffer.alloc(60, 'SRAT\0') },
  ])
    t.throws(() => hostFacts('h', answer(bad)), InfraError, JSON.stringify(bad))
  t.end()
})

t.test('boot loaders that would not do it', t => {
  const good = {
    'grub-dir': '/boot/grub',
    'grub-editenv': 'grub-editenv',
    'grub-next': 'yes',
    'grub-custom': 'yes',
    'grub-env-size': '1024\n',
    'grub-fs': 'ext4 u /boot /dev/sda1\n',
  }
  const problems = (values: object) =>
    loaderProblems({ boot: 'grub', append: [] }, answer({ ...good, ...values }))
  t.same(problems({}), [])
  t.match(problems({ 'grub-next': '' }), [/one-shot entries would be ignored/])
  t.match(problems({ 'grub-env-size': '' }), [
    /expected a grubenv of 1024 bytes/,
  ])
  t.match(problems({ 'grub-fs': 'btrfs u / x' }), [/started for ever/])
  t.match(problems({ 'grub-abstraction': 'lvm' }), [/on ext4 on lvm/])
  t.match(problems({ 'grub-dir': '' }), [/found none/])
  t.match(loaderProblems({ boot: 'kexec', append: [] }, answer({})), [
    /kexec-tools/,
  ])
  t.match(loaderProblems({ boot: 'systemd-boot', append: [] }, answer({})), [
    /UEFI/,
  ])
  t.end()
})

t.test('power: what is read back counts', async t => {
  const line = ipmitool(
    {
      address: 'bmc',
      port: 623,
      user: 'ci',
      passwordFile: '/p',
      cipherSuite: 3,
    },
    ['chassis', 'power', 'status'],
  )
  t.same(line.slice(0, 5), ['ipmitool', '-I', 'lanplus', '-C', '3'])
  const file = join(t.testdir({ state: 'off' }), 'state')
  const sh = (script: string): string[] => ['sh', '-c', script, 'sh', file]
  const status = sh('echo "Chassis Power is $(cat "$1")"')
  const power = new Power('h', {
    on: sh('printf on >"$1"'),
    off: sh('printf off >"$1"'),
    status,
  })
  t.equal(await power.status(), 'off')
  await power.cycle()
  t.equal(await power.status(), 'on')
  const cases: readonly (readonly [string[], RegExp])[] = [
    [sh('echo maybe'), /expected 'on' or 'off' from sh, found 'maybe'/],
    [sh('echo no route >&2; exit 1'), /sh: no route/],
    [['/nonexistent/ipmitool'], /there is no \/nonexistent\/ipmitool in PATH/],
  ]
  for (const [command, message] of cases)
    await t.rejects(
      new Power('h', { on: status, off: status, status: command }).status(),
      { message },
    )
})

/** The script that hosts run, with a folder of its own for its state. */
const script = (t: Test) => {
  const state = join(t.testdir({}), 'state')
  const argv = (...words: string[]): string[] => [
    join(projectRoot(), 'images', 'host', 'tdxrig-host'),
    ...words,
  ]
  const options = { env: { TDXRIG_STATE: state }, reject: false } as const
  return {
    state,
    ask: (...words: string[]) => execa('sh', argv(...words), options),
  }
}
const NAME = Buffer.from('somebody').toString('base64')

t.test('one of many gets the lease', async t => {
  const { ask, state } = script(t)
  const takers = await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      ask('lease', `t${i}`, '600', NAME, NAME),
    ),
  )
  const granted = takers.filter(({ stdout }) => /^granted /m.test(stdout))
  t.equal(granted.length, 1)
  t.equal(takers.filter(({ stdout }) => /^held /.test(stdout)).length, 7)
  const owner = `t${takers.indexOf(granted[0]!)}`
  const other = owner === 't0' ? 't1' : 't0'
  for (const verb of [
    ['renew', other, '60'],
    ['release', other],
    ['install', other, 'grub', 'x'],
    ['arm', other, 'grub'],
    ['disarm', other],
    ['reboot', other],
  ])
    t.match(await ask(...verb), { exitCode: 4, stderr: /held by somebody/ })
  t.equal((await ask('renew', owner, '0')).exitCode, 0)
  t.match(
    (await ask('lease', other, '60', NAME, NAME)).stdout,
    /^before .*\ngranted /,
  )
  t.match(await ask('renew', owner, '60'), { exitCode: 4 }, 'it is lost')
  t.equal((await ask('release', other)).exitCode, 0)
  t.notOk(existsSync(join(state, 'lease')))
})

t.test('a lease that was damaged holds nobody up', async t => {
  const { ask, state } = script(t)
  await ask('lease', 't1', '600', NAME, NAME)
  for (const text of ['', 't1\nsoon\n', '\u0000\u0000']) {
    writeFileSync(join(state, 'lease'), text)
    t.match((await ask('lease', 't2', '1', NAME, NAME)).stdout, /^granted /m)
  }
})

t.test('the script takes no other orders', async t => {
  const { ask } = script(t)
  await ask('lease', 't1', '600', NAME, NAME)
  for (const words of [
    ['rm'],
    [],
    ['have', 'grub', '../x'],
    ['install', 't1', 'grub', '../../etc/passwd'],
    ['install', 't1', 'grub', '.x'],
    ['arm', 't1', 'lilo'],
  ])
    t.equal((await ask(...words)).exitCode, 4, words.join(' '))
  const facts = parseAnswer(
    Buffer.from((await ask('facts')).stdout),
    'this machine',
  )
  t.match(facts.get('release')?.toString(), /^\d+\.\d+/)
  t.equal(
    spawnSync('sh', ['-n', join(projectRoot(), 'images/host/tdxrig-host')])
      .status,
    0,
  )
})

t.test('--dry-run has every verb of the script, and every program', async t => {
  const script = readFileSync(
    join(projectRoot(), 'images', 'host', 'tdxrig-host'),
    'utf8',
  )
  const verbs = [
    ...script.matchAll(/^ {2}([a-z-]+)\) [a-z_]+(?: "\$@")? ;;$/gm),
  ]
  t.same(
    SCRIPT_VERBS.map(([verb]) => verb.split(' ')[0]).sort(),
    // The guard is run by systemd, in a test boot.
    verbs
      .map(([, verb]) => verb)
      .filter(verb => verb !== 'guard')
      .sort(),
  )
  const text = rehearsalText({
    name: 'spr-1',
    ssh: 'root@spr-1.lab',
    sshConfig: undefined,
    labels: [],
    boot: 'grub',
    power: {
      ipmi: {
        address: 'bmc.lab',
        port: 623,
        user: 'ci',
        passwordFile: '/p',
        cipherSuite: 3,
      },
    },
    console: { 'ipmi-sol': {} },
    deadline: 60_000,
    append: [],
  })
  t.match(text, 'StrictHostKeyChecking=yes')
  for (const words of ['sol deactivate', 'sol activate', 'chassis power off'])
    t.match(text, `-C 3 -H bmc.lab -p 623 -U ci -f /p ${words}`)
})
