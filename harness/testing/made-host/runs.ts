import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { projectRoot } from '../../base/paths.ts'
import { Workspace } from '../../run/workspace.ts'
import { type Outcome, type Running, shortFolder, startCli } from '../cli.ts'
import type { CaseResult, ResultDocument } from '../../report/schema.ts'
import { whyNoHosts } from './image.ts'
import { HOST_KERNEL, Lab, type LabOptions, type MadeHost } from './lab.ts'

type Made = Pick<LabOptions, 'alsoKnown' | 'uefi'>

/** A made host that is up, for the tests of a file; its name is `one`. */
export const labFor = async (t: Test, made: Made = {}): Promise<Lab> => {
  const directory = shortFolder(t)
  const workspace = Workspace.create()
  const lab = await Lab.create({
    directory,
    workspace,
    hosts: ['one'],
    ...made,
  })
  t.teardown(async () => {
    for (const { name, troubles } of lab.hosts)
      for (const text of troubles) t.comment(`${name}: ${text}`)
    await lab[Symbol.asyncDispose]()
    await workspace[Symbol.asyncDispose]()
  })
  await Promise.all(lab.hosts.map(host => host.up()))
  return lab
}

export interface HostRun extends Outcome {
  readonly cases: readonly CaseResult[]
}

export interface HostRunOptions {
  readonly lab: Lab
  readonly host: string
  /** YAML of a scenario; default: those that ship and suit any machine. */
  readonly scenario?: string
  /** Another inventory. */
  readonly inventory?: string
  /** Words of --kernel. */
  readonly kernels?: readonly string[]
}

/** A command line under way, and its folder. */
type HostRunning = Running & {
  readonly cwd: string
  readonly run: Promise<HostRun>
}

/** `tdxrig run --host` under way. */
export const startRun = (
  t: Test,
  {
    lab,
    host,
    scenario,
    inventory = lab.inventory,
    kernels = [HOST_KERNEL],
  }: HostRunOptions,
): HostRunning => {
  const cwd = shortFolder(t)
  if (scenario !== undefined)
    writeFileSync(join(cwd, 'scenario.yaml'), scenario)
  const on = ['--host', host, '--hosts', inventory]
  const booted = kernels.flatMap(kernel => ['--kernel', kernel])
  return startIn(t, cwd, [
    ...on,
    ...booted,
    scenario === undefined ? ANYWHERE : 'scenario.yaml',
  ])
}

/** Shipped scenarios that name places and needs, and no addresses. */
export const ANYWHERE = join(projectRoot(), 'scenarios', 'anywhere')

/** A run goes on that was killed. */
export const resume = (
  t: Test,
  { cwd }: Pick<HostRunning, 'cwd'>,
): Promise<HostRun> => startIn(t, cwd, ['--resume', 'results/latest']).run

const startIn = (
  t: Test,
  cwd: string,
  args: readonly string[],
): HostRunning => {
  const running = startCli(['run', '--json', 'result.json', ...args], { cwd })
  const run = running.ended.then((outcome): HostRun => {
    t.comment(outcome.stdout + outcome.stderr)
    return { ...outcome, cases: casesIn(join(cwd, 'result.json')) }
  })
  return { ...running, cwd, run }
}

const casesIn = (path: string): readonly CaseResult[] => {
  try {
    return (JSON.parse(readFileSync(path, 'utf8')) as ResultDocument).cases
  } catch {
    return []
  }
}

export const runOn = (t: Test, options: HostRunOptions): Promise<HostRun> =>
  startRun(t, options).run

/** An inventory with other values for a host. */
export const inventoryWith = (
  lab: Lab,
  host: MadeHost,
  values: Readonly<Record<string, unknown>>,
): string => {
  const text = JSON.stringify({
    sshConfig: 'ssh_config',
    hosts: [{ ...host.entry, ...values }],
  })
  const name = createHash('sha256').update(text).digest('hex').slice(0, 8)
  const path = join(lab.directory, `hosts-${name}.yaml`)
  writeFileSync(path, text)
  return path
}

/** What must be the same before and after, whatever happened. */
export const stateOf = async (host: MadeHost): Promise<string> =>
  host.shell(
    [
      'uname -r',
      'grep -c tdxrig.boot /proc/cmdline',
      'sha256sum /boot/grub/grub.cfg',
      'grub-editenv list',
      'ls /boot /boot/grub',
      'find /efi -type f | sort',
      'ls -A /lib/modules',
      'ls -A /var/lib/tdxrig | grep -vx -e lock -e work',
      'ls /etc/systemd/system',
    ].join('; ') + '; true',
  )

/** The boot that a host runs. */
export const bootOf = (host: MadeHost): Promise<string> =>
  host.shell('cat /proc/sys/kernel/random/boot_id')

/** What tests of faults have in common. */
interface Faults {
  readonly lab: Lab
  readonly host: MadeHost
  /** A fault, behind which the host must be as it was. */
  readonly fault: (
    name: string,
    body: (t: Test, host: MadeHost) => Promise<void>,
  ) => void
}

/** Puts up a made host for faults, or ends the tests with what is missing. */
export const faultsOn = async (t: Test, made: Made = {}): Promise<Faults> => {
  const why = await whyNoHosts()
  if (why !== undefined) t.bailout(why)
  const lab = await labFor(t, made)
  const host = lab.host('one')
  const before = await stateOf(host)
  return {
    lab,
    host,
    fault: (name, body) => {
      void t.test(name, async t => {
        await body(t, host)
        t.equal(await stateOf(host), before, 'the host is as it was')
      })
    },
  }
}

/** What the kernel under test prints when TDX is initialised. */
export const INITIALIZED = 'TDX-Module initialized'

/** Nobody waits for a lease to run out. */
export const endLease = (host: MadeHost): Promise<string> =>
  host.shell("sed -i '2s/.*/1/' /var/lib/tdxrig/lease")
