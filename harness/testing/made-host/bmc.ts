import { constants, openSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import { endsWithUs } from '../../base/ends-with-us.ts'

export interface BmcOptions {
  /** Private folder. */
  readonly directory: string
  readonly port: number
  /** Where its host's serial port is plugged in. */
  readonly serialPort: number
  readonly onPower: (state: 'on' | 'off') => void
}

const USER = 'tdxrig'
const PASSWORD = 'made-host'

interface Program {
  readonly kill: (signal: NodeJS.Signals) => boolean
  readonly ended: Promise<unknown>
}

/** The BMC of a made host: OpenIPMI's ipmi_sim, with real IPMI on loopback. */
export class Bmc implements AsyncDisposable {
  readonly port: number
  readonly user = USER
  readonly passwordFile: string
  readonly #state: string
  readonly #process: Program
  readonly #wishes: Socket
  #lie: 'on' | 'off' | undefined

  private constructor(
    { directory, port, onPower }: BmcOptions,
    process: Program,
    wishes: Socket,
  ) {
    this.port = port
    this.passwordFile = join(directory, 'password')
    this.#state = join(directory, 'power')
    this.#process = process
    this.#wishes = wishes
    wishes.on('error', () => undefined)
    wishes.on('data', (chunk: Buffer) => {
      for (const wish of chunk.toString().split('\n').filter(Boolean))
        onPower(wish === '1' ? 'on' : 'off')
    })
  }

  static async start(options: BmcOptions): Promise<Bmc> {
    const { directory, port, serialPort } = options
    const file = (name: string): string => join(directory, name)
    await writeFile(file('password'), PASSWORD, { mode: 0o600 })
    await writeFile(file('power'), 'power:0\n')
    await execa('mkfifo', [file('wishes')])
    // Kept open for writing, too: nobody who writes has to wait.
    const wishes = new Socket({
      fd: openSync(file('wishes'), constants.O_RDWR | constants.O_NONBLOCK),
    })
    await writeFile(file('chassis'), chassis(directory), { mode: 0o700 })
    await writeFile(file('lan.conf'), lanConf(directory, port, serialPort))
    await writeFile(file('commands'), COMMANDS)
    const process = execa(
      'setpriv',
      endsWithUs([
        'ipmi_sim',
        '-n',
        '-c',
        file('lan.conf'),
        '-f',
        file('commands'),
        '-s',
        directory,
      ]),
      { cwd: directory, stdio: 'ignore', reject: false, detached: true },
    )
    const program: Program = {
      kill: signal => process.kill(signal),
      ended: process,
    }
    return new Bmc(options, program, wishes)
  }

  /** What it says when it is asked; a liar says the same for ever. */
  async tell(state: 'on' | 'off'): Promise<void> {
    await writeFile(
      this.#state,
      `power:${(this.#lie ?? state) === 'on' ? 1 : 0}\n`,
    )
  }

  async lie(always: 'on' | 'off' | undefined): Promise<void> {
    this.#lie = always
    if (always) await this.tell(always)
  }

  /** It answers nobody, or again. */
  silence(on: boolean): void {
    this.#process.kill(on ? 'SIGSTOP' : 'SIGCONT')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#process.ended
    this.#wishes.destroy()
  }
}

/** Called with `ADDRESS get power`, or `ADDRESS set power 0`. */
const chassis = (directory: string): string => `#!/bin/sh
case "$2 $3" in
  'get power') cat '${directory}/power' ;;
  'set power') echo "$4" >'${directory}/wishes' ;;
  'get boot') echo boot:default ;;
esac
`

const lanConf = (
  directory: string,
  port: number,
  serialPort: number,
): string => `name "made"
set_working_mc 0x20
startlan 1
  addr 127.0.0.1 ${port}
  priv_limit admin
  allowed_auths_callback none md2 md5 straight
  allowed_auths_user none md2 md5 straight
  allowed_auths_operator none md2 md5 straight
  allowed_auths_admin none md2 md5 straight
  guid a123456789abcdefa123456789abcdef
endlan
chassis_control "${directory}/chassis 0x20"
sol "tcp:127.0.0.1:${serialPort}" 115200
user 1 true "" "" user 10 none md2 md5 straight
user 2 true "${USER}" "${PASSWORD}" admin 10 none md2 md5 straight
`

const COMMANDS = `mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
mc_enable 0x20
`
