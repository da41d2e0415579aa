import { copyFile, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { InfraError, messageOf } from '../base/errors.ts'
import type { BootPlan, Machine } from '../machine/machine.ts'
import {
  type BootRecord,
  type WitnessName,
  witnessesOf,
} from '../machine/record.ts'
import { readRecord } from '../machine/record-file.ts'

/** A saved boot: the record, and the console beside it. */
interface SavedBoot {
  /** JSON, as record-file.ts writes it. */
  readonly record: string
  readonly console: string
}

/** Boots nothing: it gives out a boot that was saved, again and again. */
export class ReplayMachine implements Machine {
  readonly description: string
  readonly witnesses: ReadonlySet<WitnessName>
  readonly #saved: SavedBoot
  readonly #record: BootRecord

  private constructor(saved: SavedBoot, record: BootRecord) {
    this.#saved = saved
    this.#record = record
    this.description = `a saved boot: ${saved.record}`
    this.witnesses = new Set(witnessesOf(record))
  }

  /** @throws InfraError when it cannot be read */
  static async open(saved: SavedBoot): Promise<ReplayMachine> {
    try {
      const data: unknown = JSON.parse(await readFile(saved.record, 'utf8'))
      return new ReplayMachine(saved, readRecord(data, saved.console))
    } catch (error) {
      throw new InfraError(
        'SAVED_BOOT',
        `cannot read the saved boot ${saved.record}: ${messageOf(error)}`,
        { cause: error },
      )
    }
  }

  async boot(
    { directory }: BootPlan,
    signal: AbortSignal,
  ): Promise<BootRecord> {
    signal.throwIfAborted()
    const path = join(directory, 'console.log')
    try {
      await copyFile(this.#saved.console, path)
    } catch (error) {
      throw new InfraError(
        'SAVED_BOOT',
        `cannot read the console of a saved boot: ${messageOf(error)}`,
        { cause: error },
      )
    }
    signal.throwIfAborted()
    const { witnesses } = this.#record
    return {
      ...this.#record,
      witnesses: {
        ...witnesses,
        console: witnesses.console && { path, timesPath: null, lossy: false },
      },
    }
  }
}
