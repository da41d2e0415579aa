import colors from 'picocolors'
import { UsageError } from '../base/errors.ts'
import { visible } from '../base/text.ts'
import { type HostCheck, checkHost } from '../machine/host/check.ts'
import { chosenHosts, readInventory } from '../machine/host/inventory.ts'
import { INSTALLED, hostScript } from '../machine/host/remote.ts'
import { Workspace } from '../run/workspace.ts'
import { onInterrupt } from './interrupt.ts'

interface HostsFlags {
  readonly hosts?: string
}

const VERBS: Readonly<
  Record<
    string,
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
    for (const { host, checks } of all)
      process.stdout.write(
        `${[host.name, ...checks.map(checkLine)].join('\n')}\n`,
      )
    return all.every(({ checks }) => checks.every(({ ok }) => ok)) ? 0 : 3
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
  const run = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined
  if (run) return run(names, flags)
  throw new UsageError(
    'HOSTS',
    `expected one of ${Object.keys(VERBS).join(', ')}, found '${verb}'`,
  )
}
