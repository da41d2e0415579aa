import { open } from 'node:fs/promises'
import { untilReboot } from '../../base/until-reboot.ts'
import type { Qemu } from './probe.ts'

/** The line comes before user space does. */
const LOOKED_AT = 64 * 1024
/** determine_cpu_tsc_frequencies(), arch/x86/kernel/tsc.c. */
const DETECTED = /\btsc: Detected (\d+)\.(\d{3}) MHz processor\r?\n/
/** Of any CPU that has a constant TSC, in kHz. */
const LIMITS = { least: 100_000, most: 10_000_000 }

const PARAMETER = 'tsc_early_khz='

interface RunGuest {
  readonly cmdline: string
  readonly consolePath: string
}

/**
 * How fast the TSC of TCG's guests runs, which is as fast as the host's. A
 * guest needs some 0.1 s to measure it, of time that really passes; so the
 * first one does, and all others of this host are told.
 */
export class GuestTsc {
  readonly #memory
  #frequency: Promise<number | undefined>

  constructor({ binary, version }: Pick<Qemu, 'binary' | 'version'>) {
    this.#memory = untilReboot('tsc.json', `${binary} ${version}`)
    this.#frequency = this.#memory.recall().then(plausible)
  }

  /** Kernel parameters. */
  async words(): Promise<string[]> {
    const frequency = await this.#frequency
    return frequency === undefined ? [] : [PARAMETER + String(frequency)]
  }

  /** @param guest that has run; one that was told the frequency teaches nothing */
  async learn({ cmdline, consolePath }: RunGuest): Promise<void> {
    if (cmdline.includes(PARAMETER)) return
    const measured = plausible(measuredIn(await beginning(consolePath)))
    if (measured === undefined) return
    this.#frequency = Promise.resolve(measured)
    await this.#memory.keep(measured)
  }
}

const measuredIn = (console: string): number | undefined => {
  const [, mhz, khz] = DETECTED.exec(console) ?? []
  return mhz === undefined ? undefined : Number(mhz) * 1000 + Number(khz)
}

const plausible = (frequency: unknown): number | undefined =>
  typeof frequency === 'number' &&
  Number.isInteger(frequency) &&
  frequency >= LIMITS.least &&
  frequency <= LIMITS.most
    ? frequency
    : undefined

const beginning = async (path: string): Promise<string> => {
  await using file = await open(path)
  const { buffer, bytesRead } = await file.read(Buffer.alloc(LOOKED_AT), {
    position: 0,
  })
  return buffer.toString('latin1', 0, bytesRead)
}
