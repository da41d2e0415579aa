import { join } from 'node:path'
import colors from 'picocolors'
import { UsageError } from '../base/errors.ts'
import { checkOutputFolder, writeWhole } from '../base/output.ts'
import { visible } from '../base/text.ts'
import { type HostCheck, checkHost } from '../machine/host/check.ts'
import { chosenHosts, readInventory } from '../machine/host/inventory.ts'
import { INSTALLED, hostScript } from '../machine/host/remote.ts'
import { portraitOf } from '../machine/host/portrait.ts'
import { HostSession } from '../machine/host/session.ts'
import { Workspace } from '../run/workspace.ts'
import { giveBack } from './give-back.ts'
import { onInterrupt } from './interrupt.ts'
import { progressFor } from './progress.ts'
import { HOSTS_VERBS, type HostsVerb } from './words.ts'

interface HostsFlags {
  readonly hosts?: string
  /** Folder for what `boot` finds. */
  readonly out?: string
}

const VERBS: Readonly<
  Record<
    HostsVerb,
    (names: readonly string[], flags: HostsFlags) => Promise<number>
  >
> = {
  list: async (names, { hosts }) => {
    for (const host of chosenHosts(await readInventory(hosts), names))
      process.stdout.write(
        `${host.name}  ${host.ssh}  ${host.boot}  ${host.labels.join(' ')}\n`,
      )
    return 0
  },
  check: async (names, { hosts: path }) => {
    const { signal } = onInterrupt()
    const hosts = chosenHosts(await readInventory(path), names)
    await using workspace = Workspace.create()
    const all = await Promise.all(
      hosts.map(async host => ({
        host,
        checks: await checkHost(host, { directory: workspace.path, signal }),
      })),
    )
    signal.throwIfAborted()
    for (const { host, checks } of all)
      process.stdout.write(
        `${[host.name, ...checks.map(checkLine)].join('\n')}\n`,
      )
    return all.every(({ checks }) => checks.every(({ ok }) => ok)) ? 0 : 3
  },
  boot: async (names, { hosts: path, out = '.' }) => {
    const { signal } = onInterrupt()
    if (names.length === 0)
      throw new UsageError('HOSTS', 'expected the hosts to boot, found none')
    const hosts = chosenHosts(await readInventory(path), names)
    await checkOutputFolder('--out', out)
    await using workspace = Workspace.create()
    const progress = await progressFor()
    let areBack = true
    try {
      for (const host of hosts) {
        const session = await HostSession.open({
          host,
          directory: workspace.path,
          purpose: 'tdxrig hosts boot',
          signal,
          onStep: progress.step,
        })
        try {
          const portrait = portraitOf(await session.rebootAsFound(signal))
          const file = join(out, `${host.name}.json`)
          await writeWhole(file, `${JSON.stringify(portrait, null, 2)}\n`)
          process.stdout.write(`${host.name}: ${file}\n`)
        } finally {
          areBack = (await giveBack([session], signal)) && areBack
        }
      }
    } finally {
      progress.close()
    }
    return areBack ? 0 : 3
  },
  script: async () => {
    process.stdout.write(await hostScript())
    process.stderr.write(
      [
        `# For a user who is not root: install this as ${INSTALLED} (root, 0755),`,
        '# and allow it alone, with a file in /etc/sudoers.d:',
        `# USER ALL=(root) NOPASSWD: ${INSTALLED}`,
        '',
      ].join('\n'),
    )
    return 0
  },
}

const checkLine = ({ part, ok, found }: HostCheck): string =>
  `  ${ok ? colors.green('ok ') : colors.red('BAD')} ${part.padEnd(10)}  ${visible(found.replaceAll('\n', '; '))}`

/** `tdxrig hosts VERB [NAME...]`. @returns the exit code */
export const hostsCommand = (
  verb: string,
  names: readonly string[],
  flags: HostsFlags,
): Promise<number> => {
  const known = HOSTS_VERBS.find(name => name === verb)
  if (known) return VERBS[known](names, flags)
  throw new UsageError(
    'HOSTS',
    `expected one of ${HOSTS_VERBS.join(', ')}, found '${verb}'`,
  )
}
