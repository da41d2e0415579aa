import * as z from 'zod'
import { parseSize } from '../base/units.ts'

/** A size or an address; becomes bytes. */
export const sizeSchema = (what: string) =>
  z
    .union([z.string(), z.number()], {
      error: `expected ${what} such as 512M, 6G or 0x140000000`,
    })
    .transform((value, context) => {
      const size = parseSize(String(value))
      if (size !== undefined) return size
      context.addIssue({
        code: 'custom',
        message: `expected ${what} such as 512M, 6G or 0x140000000, found '${value}'`,
      })
      return z.NEVER
    })

/** CPU numbers: `3`, `0-1`, `0-3,8`; becomes a list. */
export const cpuListSchema = z
  .union([z.string(), z.number().int()], {
    error: "expected CPU numbers such as 3, '0-1' or '0-3,8'",
  })
  .transform((value, context) => {
    const cpus = parseCpuList(String(value))
    if (cpus) return cpus
    context.addIssue({
      code: 'custom',
      message: `expected CPU numbers such as 3, '0-1' or '0-3,8', found '${value}'`,
    })
    return z.NEVER
  })

/** More CPUs than any kernel has: stops `0-4000000000` from filling memory. */
const MAX_CPU = 8192

/** @returns the CPUs in the order given, or undefined for other text */
const parseCpuList = (text: string): number[] | undefined => {
  const cpus: number[] = []
  for (const part of text.split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim())
    if (!match) return undefined
    const first = Number(match[1])
    const last = Number(match[2] ?? match[1])
    if (last < first || last >= MAX_CPU) return undefined
    for (let cpu = first; cpu <= last; cpu++) cpus.push(cpu)
  }
  return cpus
}
