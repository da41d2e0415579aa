import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { BootPlan, Machine } from '../machine/machine.ts'
import {
  type BootRecord,
  WITNESS_NAMES,
  type WitnessName,
} from '../machine/record.ts'
import type { Case } from '../scenario/case.ts'
import { KERNEL } from './judged.ts'
import { perfectBoot, recordOf } from './records.ts'

/**
 * A stand-in: it writes what a kernel would print that does all that is
 * predicted, and has seen all of it but for the witnesses it is made without.
 */
export class ScriptedMachine implements Machine {
  readonly description = 'a scripted boot'
  readonly witnesses: ReadonlySet<WitnessName>
  readonly #item: Case

  constructor(item: Case, without: readonly WitnessName[] = []) {
    this.#item = item
    this.witnesses = new Set(
      WITNESS_NAMES.filter(name => !without.includes(name)),
    )
  }

  async boot(
    { directory }: BootPlan,
    signal: AbortSignal,
  ): Promise<BootRecord> {
    signal.throwIfAborted()
    let text = ''
    const { seen } = perfectBoot(
      this.#item,
      lines => {
        text = lines.map(line => `${line}\n`).join('')
        return lines
      },
      KERNEL,
    )
    const path = join(directory, 'console.log')
    await writeFile(path, text)
    signal.throwIfAborted()
    const record = recordOf(seen)
    const witnesses = {
      ...record.witnesses,
      console: { path, timesPath: null, lossy: false },
    }
    for (const name of WITNESS_NAMES)
      if (!this.witnesses.has(name)) Object.assign(witnesses, { [name]: null })
    return { ...record, witnesses }
  }
}
