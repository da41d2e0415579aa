import { homedir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { UsageError } from '../../base/errors.ts'
import { chosenHosts, defaultInventory, readInventory } from './inventory.ts'

const file = (t: Test, text: string): string =>
  join(t.testdir({ 'hosts.yaml': text }), 'hosts.yaml')

const HOST = `hosts:
  - name: spr-1
    ssh: root@spr-1.lab
    labels: [spr, two-sockets]
    boot: { grub: {} }
    power: { ipmi: { address: spr-1-bmc.lab, user: ci, passwordFile: ~/.bmc/spr-1 } }
    console: { ipmi-sol: {} }
    deadline: 10m
`

t.test('an inventory', async t => {
  const path = file(
    t,
    `sshConfig: ssh.conf\n${HOST}  - { name: spr-2, ssh: spr-2, boot: { kexec: {} }, labels: [spr], power: { command: { on: [a], off: [b], status: [c] } } }\n`,
  )
  const hosts = await readInventory(path)
  t.match(hosts[0], {
    name: 'spr-1',
    boot: 'grub',
    deadline: 600_000,
    sshConfig: join(path, '..', 'ssh.conf'),
    power: {
      ipmi: {
        passwordFile: join(homedir(), '.bmc/spr-1'),
        port: 623,
        cipherSuite: 3,
      },
    },
  })
  t.match(hosts[1], { boot: 'kexec', console: 'none', append: [] })
  const names = (words: string[]): string[] =>
    chosenHosts(hosts, words).map(({ name }) => name)
  t.same(names(['spr']), ['spr-1', 'spr-2'])
  t.same(names(['two-sockets', 'spr-1']), ['spr-1'])
  t.same(names([]), ['spr-1', 'spr-2'])
  t.throws(() => names(['sprr']), {
    message: /no host has .* 'sprr'; did you mean 'spr'\? \(there are: spr-1, /,
  })
})

t.test('every mistake is named with its place', async t => {
  const mistakes: readonly (readonly [string, RegExp])[] = [
    ['', /1:1: expected/],
    ['hosts: []\n', /1:8: expected at least one host/],
    [
      HOST.replace('name:', 'nmae:'),
      /2:5: unknown key 'nmae'; did you mean 'name'\?/,
    ],
    [
      HOST.replace('grub', 'lilo'),
      /expected \{ grub: \{\} \}, \{ systemd-boot/,
    ],
    [HOST.replace('10m', '10'), /8:15: expected a time such as 90s or 10m/],
    [
      HOST.replace('root@spr-1.lab', '-oProxyCommand=x'),
      /3:10: expected a destination of your ssh/,
    ],
    [
      HOST.replace('root@spr-1.lab', '"a b"'),
      /3:10: expected a destination of your ssh/,
    ],
    [
      HOST.replace('spr-1-bmc.lab', '"; rm"'),
      /expected a host name or an address|expected \{ ipmi/,
    ],
    [HOST.replace(/ {4}power.*\n/, ''), /serial over LAN needs the BMC/],
    [
      `${HOST}  - { name: spr-1, ssh: other, boot: { grub: {} } }\n`,
      /another host has the name 'spr-1' already/,
    ],
    [
      `${HOST}  - { name: x, ssh: root@spr-1.lab, boot: { grub: {} } }\n`,
      /another host has the ssh 'root@spr-1.lab' already/,
    ],
    ['hosts: [\n', /hosts.yaml:\d+:\d+: /],
  ]
  for (const [text, message] of mistakes)
    await t.rejects(readInventory(file(t, text)), { message }, String(message))
  const none = readInventory('/nonexistent/hosts.yaml')
  await t.rejects(none, UsageError)
  await t.rejects(none, {
    message: /expected an inventory of hosts at \/nonexistent/,
  })
})

t.test('where the inventory is looked for', t => {
  t.equal(defaultInventory({ XDG_CONFIG_HOME: '/c' }), '/c/tdxrig/hosts.yaml')
  t.equal(
    defaultInventory({ XDG_CONFIG_HOME: 'relative' }),
    join(homedir(), '.config/tdxrig/hosts.yaml'),
  )
  t.end()
})
