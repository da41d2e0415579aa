import { messageOf } from '../../base/errors.ts'
import { findProgram } from '../../base/paths.ts'
import { formatSize } from '../../base/units.ts'
import { usable } from '../../memory/e820.ts'
import { totalSize } from '../../memory/range.ts'
import { consoleCommand } from './host-console.ts'
import { type HostFacts, hostFacts } from './found.ts'
import type { HostEntry } from './inventory.ts'
import { loaderProblems } from './loader.ts'
import { Power, powerCommands } from './power.ts'
import { Remote, textOf } from './remote.ts'
import { splitHostWords, testBootOf } from './words.ts'

/** One part of a host, as it was found. */
export interface HostCheck {
  readonly part: string
  readonly ok: boolean
  /** What was found; where it is not right, also what was expected. */
  readonly found: string
}

export interface CheckOptions {
  /** Private folder with a short path. */
  readonly directory: string
  readonly signal: AbortSignal
}

/** Tries each part of a host without rebooting it or taking its lease. */
export const checkHost = async (
  host: HostEntry,
  { directory, signal }: CheckOptions,
): Promise<HostCheck[]> => {
  const remote = new Remote({
    destination: host.ssh,
    sshConfig: host.sshConfig,
    directory,
  })
  const [there, power, console] = await Promise.all([
    reached(host, remote, signal),
    checkPower(host, signal),
    checkConsole(host),
  ])
  return [...there, ...power, ...console]
}

const reached = async (
  host: HostEntry,
  remote: Remote,
  signal: AbortSignal,
): Promise<HostCheck[]> => {
  let facts: HostFacts
  try {
    facts = hostFacts(host.name, await remote.ask(['facts'], { signal }))
  } catch (error) {
    signal.throwIfAborted()
    return [bad('ssh', messageOf(error))]
  } finally {
    await remote.close()
  }
  const problems = loaderProblems(host, facts.answer)
  return [
    good('ssh', `${host.ssh} answers, and lets us act as root`),
    good('kernel', facts.release),
    ...(problems.length === 0
      ? [good('boot', `${host.boot} starts an entry once`)]
      : problems.map(text => bad('boot', text))),
    ...checkSpace(host, facts),
    checkInit(facts),
    good('watchdog', watchdogs(facts)),
    checkWords(facts),
    checkLease(facts),
    good('memory', memoryText(facts)),
    checkTdx(facts),
  ]
}

const good = (part: string, found: string): HostCheck => ({
  part,
  ok: true,
  found,
})
const bad = (part: string, found: string): HostCheck => ({
  part,
  ok: false,
  found,
})

const watchdogs = ({ answer }: HostFacts): string =>
  textOf(answer, 'watchdogs')
    .split('\n')
    .map(line => line.trim())
    .join(', ') || 'none'

/** A kernel with its initrd, and as much again. */
const NEEDED_KIB = 128 * 1024

/** `df -Pk`: the fourth column is what is free. */
const checkSpace = (
  { boot: loader }: Pick<HostEntry, 'boot'>,
  { answer }: HostFacts,
): HostCheck[] => {
  const where = loader === 'systemd-boot' ? 'sd-boot-free' : 'free'
  const free = textOf(answer, where)
    .split('\n')
    .slice(1)
    .flatMap(line => {
      const columns = line.split(/\s+/)
      const [kib, mount] = [Number(columns[3]), columns[5]]
      return mount === undefined || Number.isNaN(kib) ? [] : [{ kib, mount }]
    })
  const [boot] = free
  if (!boot) return [bad('space', 'df does not say what is free for kernels')]
  const text = `${Math.floor(boot.kib / 1024)}M free in ${boot.mount}`
  return [
    boot.kib >= NEEDED_KIB
      ? good('space', text)
      : bad(
          'space',
          `expected ${formatSize(NEEDED_KIB * 1024)} for kernels, found ${text}`,
        ),
  ]
}

const checkInit = ({ answer }: HostFacts): HostCheck => {
  const init = textOf(answer, 'init')
  return init === 'systemd'
    ? good('return', 'systemd takes it back when a lease ends')
    : bad(
        'return',
        `expected systemd, which takes the host back when a lease ends, found '${init}'`,
      )
}

/** What its own boots have and test boots do not. */
const checkWords = ({ cmdline }: HostFacts): HostCheck => {
  const { kept, dropped } = splitHostWords(cmdline)
  return good(
    'parameters',
    `${kept.join(' ')}${dropped.length > 0 ? `; not in test boots: ${dropped.join(' ')}` : ''}`,
  )
}

const checkLease = ({ answer, cmdline }: HostFacts): HostCheck => {
  const [, expiry = '', owner = ''] = textOf(answer, 'lease').split('\n')
  if (Number(expiry) > Number(textOf(answer, 'now')))
    return good('lease', `held by ${owner}`)
  return testBootOf(cmdline) === undefined
    ? good('lease', 'free')
    : bad('lease', 'free, but a test kernel runs: it should have gone back')
}

const memoryText = ({ machine }: HostFacts): string => {
  const { e820, cpus, nodeCpus, packageOf } = machine
  return [
    `${formatSize(totalSize(usable(e820)))} usable`,
    `${nodeCpus.length || 1} nodes`,
    `${cpus} CPUs`,
    `${new Set(packageOf).size} packages`,
  ].join(', ')
}

const checkTdx = ({ facts: { tdx } }: HostFacts): HostCheck => {
  const text = `${tdx.outcome}${tdx.message === null ? '' : `: ${tdx.message}`}`
  return tdx.keyids
    ? good('tdx', `${text}; private KeyIDs [${tdx.keyids.join(', ')})`)
    : bad('tdx', `expected TDX to be enabled in the BIOS, found ${text}`)
}

const checkPower = async (
  host: HostEntry,
  signal: AbortSignal,
): Promise<HostCheck[]> => {
  const commands = powerCommands(host)
  if (!commands)
    return [
      good('power', 'none: a host that hangs must be switched off by hand'),
    ]
  try {
    const state = await new Power(host.name, commands).status(signal)
    return [
      state === 'on'
        ? good('power', 'its BMC says that it is on')
        : bad('power', 'expected a host that is on, its BMC says it is off'),
    ]
  } catch (error) {
    signal.throwIfAborted()
    return [bad('power', messageOf(error))]
  }
}

const checkConsole = async (host: HostEntry): Promise<HostCheck[]> => {
  const program = consoleCommand(host)?.argv[0]
  if (program === undefined)
    return [
      good('console', 'none: a kernel that does not come up leaves no log'),
    ]
  return [
    (await findProgram(program)) === undefined
      ? bad('console', `there is no ${program} in PATH: install it`)
      : good('console', program),
  ]
}
