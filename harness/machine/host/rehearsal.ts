import { consoleCommand } from './host-console.ts'
import type { HostEntry } from './inventory.ts'
import { powerCommands } from './power.ts'
import { Remote } from './remote.ts'

/** A command, and when it is run. */
export interface Rehearsed {
  readonly argv: readonly string[]
  readonly when: string
}

/** Verbs of our script in the order of a run; capitals stand for values. */
export const SCRIPT_VERBS: readonly (readonly [string, string])[] = [
  ['lease TOKEN SECONDS OWNER PURPOSE', 'takes the lease, or says who has it'],
  ['facts', 'reads what the host is'],
  ['kernel RELEASE', 'with --kernel installed: reads that kernel'],
  ['have LOADER FILE', 'asks whether the kernel is there'],
  ['install TOKEN LOADER FILE', 'copies the kernel (stdin)'],
  ['adopt TOKEN LOADER RELEASE FILE FILE', 'or one that is installed'],
  ['modules TOKEN RELEASE', 'copies its modules, where it has some (stdin)'],
  ['initrd TOKEN LOADER RELEASE FILE', 'and makes an initrd for them'],
  ['keep-guard TOKEN', 'keeps what takes the host back by itself (stdin)'],
  ['renew TOKEN SECONDS', 'renews the lease, before every boot'],
  ['arm TOKEN LOADER FILE [FILE]', 'the entry for one boot (stdin)'],
  ['status', 'asks which boot runs, every second until it is another one'],
  ['reboot TOKEN LOADER', 'reboots: once for a case, once to go home'],
  ['trigger TOKEN [module]', 'before Linux 7.1: initialises TDX'],
  ['log', "reads the kernel's log"],
  ['disarm TOKEN [all]', 'takes away what the boots needed'],
  ['release TOKEN', 'gives the lease back'],
]

/** Every command that is run here for a host: nothing else is. */
export const rehearse = (host: HostEntry, directory: string): Rehearsed[] => {
  const remote = new Remote({
    destination: host.ssh,
    sshConfig: host.sshConfig,
    directory,
  })
  const console = consoleCommand(host)
  const power = powerCommands(host)
  return [
    ...remote.introduction(),
    ...SCRIPT_VERBS.map(([verb, when]) => ({
      argv: remote.sshLine([remote.scriptLine(), verb]),
      when,
    })),
    { argv: remote.exitLine(), when: 'ends the connection' },
    ...(console?.before
      ? [{ argv: console.before, when: 'frees the console, before a boot' }]
      : []),
    ...(console ? [{ argv: console.argv, when: 'watches a boot' }] : []),
    ...(power
      ? [
          { argv: power.off, when: 'when the host does not come back' },
          { argv: power.status, when: 'until it is off, and then on' },
          { argv: power.on, when: 'behind it' },
        ]
      : []),
  ]
}
