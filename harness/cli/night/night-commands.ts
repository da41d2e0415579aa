import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Bind } from '../bind.ts'
import { historyOption } from '../history-option.ts'
import {
  age,
  collect,
  counted,
  duration,
  hostsOption,
  positive,
} from '../options.ts'
import { LOG_FORMS } from './log.ts'
import { databaseOption } from './database-option.ts'

/** Nights that are listed. */
const LISTED = 20
/** Seconds for which a machine that is away is waited for. */
const PATIENCE = 600

const logOption = (): Option =>
  new Option('--log <form>', 'lines for people, or JSON')
    .choices(LOG_FORMS)
    .default('text')

const metricsOption = (): Option =>
  new Option(
    '--metrics <address>',
    'answer Prometheus at this address: 127.0.0.1:9464',
  ).argParser(address)

/** `127.0.0.1:9464`, `[::1]:9464`, `:9464` on all. */
const address = (text: string): { host: string; port: number } => {
  const [, host, port] =
    /^(\[[\da-f:.]+\]|[\w.-]*):(\d{1,5})$/i.exec(text) ?? []
  if (host === undefined || Number(port) > 65_535)
    throw new InvalidArgumentError('expected an address such as 127.0.0.1:9464')
  return { host: host.replace(/^\[|\]$/g, '') || '::', port: Number(port) }
}

/** What a machine does for a night. */
const stationOptions = (command: Command): Command =>
  command
    .option(
      '--jobs <n>',
      'guests at a time; default: one for each CPU',
      positive,
    )
    .option(
      '--host <name>',
      'offer this physical host, or all with this label (repeatable)',
      collect,
    )
    .addOption(hostsOption())
    .option('--no-qemu', 'boot no guests here')
    .option('--no-builds', 'build no kernels here')

/** Adds `night` with its verbs, and `worker`. */
export const addNightCommands = (root: Command, bind: Bind): void => {
  const night = root
    .command('night')
    .description(
      'a regression matrix over kernels, machines and hosts, by itself',
    )
  const run = night
    .command('run')
    .description('a whole night: plan, build, boot, report')
    .argument('<file>', 'night.yaml')
  stationOptions(run)
    .addOption(databaseOption())
    .option('--no-worker', 'lead only: workers on the database do the rest')
    .option(
      '--out <folder>',
      'where its reports go; default: a new folder below results/, or the one where it was begun',
    )
    .option('--dry-run', 'print what would be booted, and boot nothing')
    .option(
      '--patience <time>',
      'how long a machine or a server that is away is waited for, in seconds or with s, m, h',
      duration,
      PATIENCE,
    )
    .option('--origin <name>', 'who reports to KernelCI; default: tdxrig')
    .addOption(historyOption())
    .addOption(logOption())
    .addOption(metricsOption())
    .action(
      bind(async () => (await import('./run-command.ts')).nightRunCommand),
    )
  night
    .command('status')
    .description('how the newest night stands')
    .argument('[folder]', 'of a night; default: the newest below results/')
    .addOption(databaseOption())
    .option('--watch', 'again and again, until it is over')
    .option('--json', 'print JSON')
    .option('--prometheus', "print metrics in Prometheus' text form")
    .action(
      bind(
        async () => (await import('./status-command.ts')).nightStatusCommand,
      ),
    )
  night
    .command('list')
    .description('the nights of a database, the newest first')
    .addOption(databaseOption())
    .option('--limit <n>', 'how many', counted, LISTED)
    .option('--json', 'print JSON')
    .action(
      bind(async () => (await import('./list-command.ts')).nightListCommand),
    )
  night
    .command('stop')
    .description('give up a night that nobody is to go on with')
    .argument(
      '[number]',
      'of the night; default: the one that is under way',
      counted,
    )
    .addOption(databaseOption())
    .action(
      bind(async () => (await import('./stop-command.ts')).nightStopCommand),
    )
  night
    .command('prune')
    .description('throw nights away that are over; the history stays')
    .addOption(databaseOption())
    .option('--keep <n>', 'keep so many nights of each name', counted)
    .option('--older <age>', 'throw away only what is older: 90d, 36h', age)
    .action(
      bind(async () => (await import('./list-command.ts')).nightPruneCommand),
    )
  stationOptions(
    root
      .command('worker')
      .description('take part in nights: boot and build what this machine can'),
  )
    .addOption(databaseOption())
    .option('--name <name>', 'of this worker; default: the host name')
    .option(
      '--drain [name]',
      'ask the worker of this machine, or another one, to end what it has, and wait for that',
    )
    .addOption(logOption())
    .addOption(metricsOption())
    .action(
      bind(async () => (await import('./worker-command.ts')).workerCommand),
    )
}
