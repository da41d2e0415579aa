import type { Socket } from 'node:net'
import { ANSWER, READY, type StepReport } from '../../guest/protocol.ts'
import { InfraError } from '../../base/errors.ts'
import { hex } from '../../base/units.ts'
import type { Dimm, Poisoned, Step } from '../../scenario/steps.ts'
import type { PlugResult } from '../record.ts'
import type { QmpClient } from './qmp.ts'

/**
 * Does to the machine what the guest asks for: plugs DIMMs, and tells the guest
 * when its kernel has dealt with them; raises machine checks.
 */
export class Plugger {
  readonly #steps: readonly Step[]
  readonly #qmp: Promise<QmpClient>
  readonly #answers: Promise<Socket> | undefined
  readonly #results: PlugResult[] = []
  /**
   * Steps that were asked for: a kernel that panics while it prints a line may
   * print it once more.
   */
  readonly #asked = new Set<number>()
  #seen = 0

  /** @param answers what the guest reads as its second serial port */
  constructor(
    steps: readonly Step[],
    qmp: Promise<QmpClient>,
    answers: Promise<Socket> | undefined,
  ) {
    this.#steps = steps
    this.#qmp = qmp
    this.#answers = answers
    answers?.then(
      socket => {
        socket.on('error', () => undefined)
      },
      () => undefined,
    )
  }

  /** The guest has not asked for anything yet. */
  get isIdle(): boolean {
    return this.#asked.size === 0
  }

  get results(): readonly PlugResult[] {
    return this.#results
  }

  /**
   * Takes all reports so far; acts on those that are new.
   *
   * @param firstPamt where it begins; undefined: there is none
   */
  async update(
    reports: readonly StepReport[],
    firstPamt: () => bigint | undefined,
  ): Promise<void> {
    const fresh = reports.slice(this.#seen)
    this.#seen = reports.length
    for (const { step: number, kind } of fresh) {
      const step = this.#steps[number]
      if (kind !== 'plug' && kind !== 'unplug' && kind !== 'machine-check')
        continue
      if (this.#asked.has(number)) continue
      this.#asked.add(number)
      if (kind === 'plug' && step?.kind === 'plug')
        await (step.dimm.device === 'dimm'
          ? this.#plug(step.dimm)
          : this.#request(step.dimm))
      if (kind === 'unplug' && step?.kind === 'unplug')
        await this.#unplug(step.dimm)
      if (kind === 'machine-check' && step?.kind === 'machine check')
        await this.#machineCheck(step.at, firstPamt())
    }
  }

  async #plug({ name, node, range }: Dimm): Promise<void> {
    const qmp = await this.#qmp
    const id = `dimm-${name}`
    const noticed = qmp.next(
      ({ event, data }) => event === 'ACPI_DEVICE_OST' && ostOf(data, id),
    )
    await qmp.execute('object-add', {
      'qom-type': 'memory-backend-ram',
      id: `memory-${name}`,
      size: range.end - range.start,
      reserve: false,
    })
    await qmp.execute('device_add', {
      driver: 'pc-dimm',
      id,
      memdev: `memory-${name}`,
      node,
      addr: range.start,
    })
    const { data } = await noticed
    this.#results.push({ name, status: statusOf(data) })
    ;(await this.#answers)?.write(ANSWER)
  }

  /**
   * Asks the driver of virtio-mem to take all memory of its device, and waits
   * until it has. It never gets there on a kernel without that driver.
   */
  async #request({ name, range }: Dimm): Promise<void> {
    const qmp = await this.#qmp
    const id = `dimm-${name}`
    const size = range.end - range.start
    const taken = qmp.next(
      ({ event, data }) =>
        event === 'MEMORY_DEVICE_SIZE_CHANGE' &&
        data['id'] === id &&
        data['size'] === size,
    )
    await qmp.execute('qom-set', {
      path: `/machine/peripheral/${id}`,
      property: 'requested-size',
      value: size,
    })
    await taken
    this.#results.push({ name, status: 0 })
    ;(await this.#answers)?.write(ANSWER)
  }

  /**
   * As the erratum raises it: a CPU reads what a partial write has poisoned.
   * The others are called in (`-b`), because they are waited for.
   */
  async #machineCheck(
    at: Poisoned,
    firstPamt: bigint | undefined,
  ): Promise<void> {
    const address = at === 'pamt' ? firstPamt : at === 'timer' ? 0n : BigInt(at)
    const answers = await this.#answers
    const ready = answers && saysReady(answers)
    answers?.write(ANSWER)
    await ready
    // The guest goes on, and complains.
    if (address === undefined) {
      answers?.write(ANSWER)
      return
    }
    const qmp = await this.#qmp
    const status = at === 'timer' ? TIMER_STATUS : STATUS
    const words = [BANK, status, MCG_STATUS, hex(address), ADDRESS_OF_LINE]
    const said = await qmp.execute('human-monitor-command', {
      'command-line': `mce -b 0 ${words.join(' ')}`,
    })
    if (said !== '')
      throw new InfraError(
        'MACHINE_CHECK',
        `expected QEMU to raise a machine check, it says: ${String(said)}`,
      )
  }

  /** Waits until the DIMM is gone, or the kernel says that it keeps it. */
  async #unplug({ name }: Dimm): Promise<void> {
    const qmp = await this.#qmp
    const id = `dimm-${name}`
    const ended = qmp.next(
      ({ event, data }) =>
        (event === 'DEVICE_DELETED' && data['device'] === id) ||
        (event === 'ACPI_DEVICE_OST' &&
          ostOf(data, id) &&
          ![0, IN_PROGRESS].includes(statusOf(data))),
    )
    await qmp.execute('device_del', { id })
    await ended
    ;(await this.#answers)?.write(ANSWER)
  }
}

/** Never comes from a guest that dies before. The port also echoes. */
const saysReady = (socket: Socket): Promise<void> =>
  new Promise(resolve => {
    const onData = (chunk: Buffer): void => {
      if (!chunk.includes(READY)) return
      socket.off('data', onData)
      resolve()
    }
    socket.on('data', onData)
  })

/** Of the first level data cache. */
const BANK = 1
/**
 * MCi_STATUS (SDM volume 3B, 16.3.2.2 and 16.9): VAL, UC, EN, MISCV, ADDRV,
 * PCC, S and AR; data load from the first level cache.
 */
const STATUS = '0xbf80000000000134'
/** VAL, UC, EN and PCC; internal timer. */
const TIMER_STATUS = '0xb200000000000400'
/** MCIP and EIPV. */
const MCG_STATUS = 6
/** MCi_MISC: a physical address, of a cache line. */
const ADDRESS_OF_LINE = '0x86'

/**
 * What the kernel says of a DIMM it is asked to give back (ACPI 6.3.5): 0x84 is
 * `in progress`. When it is ejected there is no device to answer for.
 */
const IN_PROGRESS = 0x84

type Data = Readonly<Record<string, unknown>>

const infoOf = (data: Data): Data => data['info'] as Data

const ostOf = (data: Data, id: string): boolean => infoOf(data)['device'] === id

const statusOf = (data: Data): number => Number(infoOf(data)['status'])
