import { createReadStream } from 'node:fs'
import { ConsoleReader } from '../console/reader.ts'
import type { Evidence } from '../judge/context.ts'
import type { BootRecord } from '../machine/record.ts'

const CHUNK = 64 * 1024

/**
 * What a boot left behind, with the facts that its console has: the one place
 * where a boot's console is read for what it says.
 */
export const evidenceOf = async (record: BootRecord): Promise<Evidence> => {
  const reader = new ConsoleReader()
  const { console } = record.witnesses
  if (console)
    for await (const chunk of createReadStream(console.path, {
      highWaterMark: CHUNK,
    }))
      reader.push(chunk as Buffer)
  reader.end()
  return evidenceFrom(record, reader)
}

/** @param reader of the whole console */
export const evidenceFrom = (
  record: BootRecord,
  reader: ConsoleReader,
): Evidence => ({
  record,
  facts: reader.facts(),
  nextFacts: record.next && reader.boots()[1],
  tail: reader.tail,
})
