import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { UsageError, messageOf } from '../base/errors.ts'
import type { Facts } from '../console/facts.ts'
import { ConsoleReader } from '../console/reader.ts'

/** Files are scenarios or logs; folders hold scenarios. */
export const isLog = async (path: string): Promise<boolean> => {
  if (path === '-') return true
  if (/\.ya?ml$/i.test(path)) return false
  const info = await stat(path).catch(() => undefined)
  return info !== undefined && !info.isDirectory()
}

/** Reads a kernel's log, `-` for standard input. @throws UsageError */
export const readLog = async (path: string): Promise<Facts> => {
  const reader = new ConsoleReader()
  const stream = path === '-' ? process.stdin : createReadStream(path)
  try {
    for await (const chunk of stream) reader.push(chunk as Buffer)
  } catch (error) {
    throw new UsageError('LOG', `cannot read ${path}: ${messageOf(error)}`)
  }
  reader.end()
  return reader.facts()
}
