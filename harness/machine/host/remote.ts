import { createHash, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { InfraError, UsageError } from '../../base/errors.ts'
import { projectRoot } from '../../base/paths.ts'
import { visible } from '../../base/text.ts'
import { type ProgramResult, runProgram } from './program.ts'

/** What a host answered: values by name. */
export type Answer = ReadonlyMap<string, Buffer>

export interface RemoteOptions {
  /** A destination of the user's ssh. */
  readonly destination: string
  /** A configuration in place of the user's own. */
  readonly sshConfig?: string | undefined
  /** Private folder for the connection's socket; its path is short. */
  readonly directory: string
}

export interface AskOptions {
  readonly signal?: AbortSignal | undefined
  readonly input?: Uint8Array | undefined
  /** Milliseconds; default: a minute. */
  readonly timeout?: number
}

/** Where the host keeps our script when root lets us put it there. */
const STATE = '/var/lib/tdxrig'
/** Where an administrator installs it for a user who may run nothing else. */
export const INSTALLED = '/usr/local/sbin/tdxrig-host'

/** Where root has it; its name has its hash. */
export const scriptPath = (hash: string): string =>
  `${STATE}/tdxrig-host-${hash}`

/** For the shell there. Constant but for the hash: nothing comes from outside. */
export const putScript = (hash: string): string => {
  const path = scriptPath(hash)
  return `umask 077; mkdir -p ${STATE} && cat >${path}.$$ && mv -f ${path}.$$ ${path}`
}

const MINUTE = 60_000
/** Whoever does not answer in that time is not there. */
const CONNECT_SECONDS = 10
/** ssh's own exit code: not the command's. */
const SSH_FAILED = 255
const REFUSED = 4

export const hostScript = (): Promise<Buffer> =>
  readFile(join(projectRoot(), 'images', 'host', 'tdxrig-host'))

/**
 * A host, reached with the user's own ssh and its configuration. One connection
 * carries all commands while it lasts. What is executed there is one script of
 * ours; what it answers is data.
 */
export class Remote {
  readonly #options: RemoteOptions
  readonly #socket: string
  #command: readonly string[] | undefined

  constructor(options: RemoteOptions) {
    this.#options = options
    this.#socket = join(options.directory, `s${randomUUID().slice(0, 8)}`)
  }

  /** The line that runs a command there, as it is executed here. */
  sshLine(command: readonly string[]): string[] {
    return [...this.#ssh(), this.#options.destination, '--', ...command]
  }

  #ssh(): string[] {
    const { sshConfig } = this.#options
    return [
      'ssh',
      ...(sshConfig === undefined ? [] : ['-F', sshConfig]),
      ...SSH_OPTIONS,
    ]
  }

  /**
   * Runs a verb of the script on the host.
   *
   * @throws InfraError when the host cannot be reached (`HOST_UNREACHABLE`) or
   *   its answer is none
   * @throws UsageError when the script refuses
   */
  async ask(
    verb: readonly string[],
    { signal, input, timeout = MINUTE }: AskOptions = {},
  ): Promise<Answer> {
    this.#command ??= await this.#introduce(signal)
    const result = await this.#run([...this.#command, ...verb], {
      signal,
      input,
      timeout,
    })
    return this.#answerOf(result, verb)
  }

  /** Ends the connection; the next command opens another one. */
  async close(): Promise<void> {
    await runProgram(this.exitLine(), { timeout: MINUTE })
  }

  exitLine(): string[] {
    return [
      ...this.#ssh(),
      '-o',
      `ControlPath=${this.#socket}`,
      '-O',
      'exit',
      this.#options.destination,
    ]
  }

  /** What the host runs of ours: root is given it, others must have it. */
  async #introduce(signal: AbortSignal | undefined): Promise<string[]> {
    const script = await hostScript()
    const result = await this.#run(['id', '-u'], { signal, timeout: MINUTE })
    if (result.exitCode !== 0) throw this.#unreachable(result)
    if (result.stdout.toString('latin1').trim() !== '0')
      return ['sudo', '-n', INSTALLED]
    const hash = createHash('sha256').update(script).digest('hex')
    const name = hash.slice(0, 16)
    const installed = await this.#run([putScript(name)], {
      signal,
      input: script,
      timeout: MINUTE,
    })
    if (installed.exitCode !== 0)
      throw installed.exitCode === SSH_FAILED || installed.exitCode === null
        ? this.#unreachable(installed)
        : new InfraError(
            'HOST_STATE',
            `${this.#options.destination}: cannot write ${STATE}: ${visible(installed.stderr) || 'no reason given'}`,
          )
    return ['sh', scriptPath(name)]
  }

  #run(
    command: readonly string[],
    options: AskOptions & { readonly timeout: number },
  ): Promise<ProgramResult> {
    return runProgram(this.line(command), options)
  }

  /** As it is executed: one connection for all commands. */
  line(command: readonly string[]): string[] {
    return [
      ...this.#ssh(),
      '-o',
      'ControlMaster=auto',
      '-o',
      'ControlPersist=20',
      '-o',
      `ControlPath=${this.#socket}`,
      this.#options.destination,
      '--',
      ...command,
    ]
  }

  #answerOf(result: ProgramResult, verb: readonly string[]): Answer {
    const { exitCode, stderr } = result
    const { destination } = this.#options
    if (exitCode === SSH_FAILED || exitCode === null)
      throw this.#unreachable(result)
    if (exitCode === REFUSED)
      throw new UsageError(
        'HOST_REFUSED',
        `${destination}: ${visible(stderr) || 'it gives no reason'}`,
      )
    if (exitCode !== 0) {
      // A script that is gone is sent again.
      this.#command = undefined
      const sudo = /sudo|not found|password is required/i.test(stderr)
      throw sudo
        ? new UsageError(
            'HOST_RIGHTS',
            `${destination}: expected to run ${INSTALLED} as root, found '${visible(stderr)}': install it as 'tdxrig hosts script' says`,
          )
        : new InfraError(
            'HOST_FAILED',
            `${destination}: ${verb[0] ?? ''} ended with exit code ${exitCode}: ${visible(stderr) || 'it said nothing'}`,
          )
    }
    return parseAnswer(result.stdout, destination)
  }

  #unreachable({ stderr, timedOut, missing }: ProgramResult): InfraError {
    const { destination } = this.#options
    const why = missing
      ? 'there is no ssh in PATH: install openssh-client'
      : timedOut
        ? 'it did not answer in time'
        : visible(stderr) || 'ssh gave no reason'
    return new InfraError(
      'HOST_UNREACHABLE',
      `cannot reach ${destination}: ${why}${adviceFor(stderr)}`,
    )
  }
}

/** No password is asked for, and no key is believed that is not known. */
const SSH_OPTIONS: readonly string[] = [
  '-o',
  'BatchMode=yes',
  '-o',
  'StrictHostKeyChecking=yes',
  '-o',
  'ForwardAgent=no',
  '-o',
  'ForwardX11=no',
  '-o',
  'ClearAllForwardings=yes',
  '-o',
  `ConnectTimeout=${CONNECT_SECONDS}`,
  '-o',
  'ServerAliveInterval=10',
  '-o',
  'ServerAliveCountMax=3',
]

const adviceFor = (stderr: string): string => {
  if (/host key verification failed|no .* host key is known/i.test(stderr))
    return '; expected its key in known_hosts: connect once by hand, compare the key, and accept it'
  if (/REMOTE HOST IDENTIFICATION HAS CHANGED/i.test(stderr))
    return '; its key is not the one that is known: find out why before you go on'
  return /permission denied/i.test(stderr)
    ? '; expected a key that the host accepts without a password'
    : ''
}

const RECORD = /^([a-z][a-z0-9_.-]{0,63}) ([A-Za-z0-9+/]*={0,2})$/i
const MAX_LINES = 10_000

/** @throws InfraError for anything but lines `name base64` */
export const parseAnswer = (stdout: Buffer, from: string): Answer => {
  const answer = new Map<string, Buffer>()
  const lines = stdout.toString('latin1').split('\n', MAX_LINES)
  for (const line of lines.filter(text => text !== '')) {
    const [, name, value] = RECORD.exec(line) ?? []
    if (name === undefined || value === undefined)
      throw new InfraError(
        'HOST_ANSWER',
        `${from}: expected an answer of tdxrig's script, found '${visible(line.slice(0, 80))}': does the login shell there print something?`,
      )
    answer.set(name, Buffer.from(value, 'base64'))
  }
  return answer
}

/** The text of a value, without the line break at its end. */
export const textOf = (answer: Answer, name: string): string =>
  (answer.get(name)?.toString('utf8') ?? '').replace(/\n$/, '')
