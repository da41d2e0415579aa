import type { Facts } from '../console/facts.ts'
import { ConsoleReader } from '../console/reader.ts'

/** What a reader makes of a whole console. */
export const factsOf = (text: string): Facts => {
  const reader = new ConsoleReader()
  reader.push(Buffer.from(text))
  reader.end()
  return reader.facts()
}

/** A line as the kernel prints it on a serial port. */
export const line = (text: string, time = 0.5): string =>
  `[    ${time.toFixed(6)}] ${text}\r\n`

export const KEYIDS = line(
  'virt/tdx: BIOS enabled: private KeyID range [32, 64)',
)
