import { consoleCommand } from './host-console.ts'
import type { HostEntry } from './inventory.ts'
import { powerCommands } from './power.ts'
import { INSTALLED, Remote, putScript, scriptPath } from './remote.ts'

/** Commands, and when they are run. */
interface Rehearsal {
  /** What carries every command to the host. */
  readonly ssh: readonly string[]
  /** Executed there, by its shell. */
  readonly there: readonly Rehearsed[]
  /** Executed here. */
  readonly here: readonly Rehearsed[]
}

interface Rehearsed {
  readonly words: readonly string[]
  readonly when: string
}

/** Verbs of our script in the order of a run; capitals stand for values. */
export const SCRIPT_VERBS: readonly (readonly [string, string])[] = [
  ['lease TOKEN SECONDS OWNER PURPOSE', 'takes the lease, or says who has it'],
  ['renew TOKEN SECONDS', 'renews the lease, every minute and before a boot'],
  ['facts', 'reads what the host is'],
  ['kernel RELEASE', 'with --kernel installed: reads that kernel'],
  ['have LOADER FILE', 'asks whether the kernel is there'],
  ['install TOKEN LOADER FILE HASH', 'copies the kernel (stdin)'],
  ['adopt TOKEN LOADER RELEASE FILE FILE', 'or one that is installed'],
  ['modules TOKEN RELEASE', 'copies its modules, where it has some (stdin)'],
  ['initrd TOKEN LOADER RELEASE FILE', 'and makes an initrd for them'],
  ['keep-guard TOKEN', 'keeps what takes the host back by itself (stdin)'],
  ['arm TOKEN LOADER FILE [FILE]', 'the entry for one boot (stdin)'],
  ['status', 'asks which boot runs, every second until it is another one'],
  ['reboot TOKEN LOADER', 'reboots: once for a case, once to go home'],
  ['trigger TOKEN [module]', 'before Linux 7.1: initialises TDX'],
  ['log', "reads the kernel's log"],
  ['disarm TOKEN [all]', 'takes away what the boots needed'],
  ['release TOKEN', 'gives the lease back'],
]

/** Every command that is run for a host: nothing else is. */
const rehearse = (host: HostEntry, directory: string): Rehearsal => {
  const remote = new Remote({
    destination: host.ssh,
    sshConfig: host.sshConfig,
    directory,
  })
  const console = consoleCommand(host)
  const power = powerCommands(host)
  return {
    ssh: remote.line([]),
    there: [
      { words: ['id', '-u'], when: 'asks who we are there' },
      {
        words: [putScript('HASH')],
        when: 'as root: brings our script (stdin)',
      },
      ...SCRIPT_VERBS.map(([verb, when]) => ({
        words: ['SCRIPT', ...verb.split(' ')],
        when,
      })),
    ],
    here: [
      { words: remote.exitLine(), when: 'ends the connection' },
      ...(console?.before
        ? [{ words: console.before, when: 'frees the console, before a boot' }]
        : []),
      ...(console ? [{ words: console.argv, when: 'watches a boot' }] : []),
      ...(power
        ? [
            { words: power.off, when: 'when the host does not come back' },
            {
              words: power.status,
              when: 'until it is off, and until it is on',
            },
            { words: power.on, when: 'when it is off' },
          ]
        : []),
    ],
  }
}

/** For people: what `--dry-run` prints of a host. */
export const rehearsalText = (host: HostEntry): string => {
  const { ssh, there, here } = rehearse(host, '/tmp/tdxrig')
  const lines = (commands: readonly Rehearsed[]): string[] =>
    commands.map(({ words, when }) => `  ${words.join(' ')}\n      ${when}`)
  return [
    `${host.name}: nothing was executed. A run would execute, there`,
    `over ${ssh.join(' ')}`,
    `with SCRIPT for 'sh ${scriptPath('HASH')}', or 'sudo -n ${INSTALLED}' where we are not root:`,
    ...lines(there),
    'and here:',
    ...lines(here),
    '',
  ].join('\n')
}
