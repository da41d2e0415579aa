import { PAGE_SIZE } from '../base/units.ts'
import type { NodeRange } from '../memory/range.ts'
import type { Debugger } from './debugger.ts'

/** struct tdx_memblock (arch/x86/virt/vmx/tdx/tdx.h): 40 bytes, since v6. */
const ENTRY_SIZE = 40
const START_PFN = 16
const END_PFN = 24
const NID = 32

/** No kernel has more; a corrupt list must not keep us here. */
const MAX_ENTRIES = 4096

/**
 * Walks `tdx_memlist` in the memory of a stopped guest.
 *
 * @param head virtual address of the list head
 * @returns the regions; none while the list is empty
 */
export const readMemlist = async (
  guest: Debugger,
  cpu: number,
  head: bigint,
): Promise<NodeRange[]> => {
  const regions: NodeRange[] = []
  let next = pointerAt(await guest.readVirtual(cpu, head, 8))
  while (next !== head && next !== 0n && regions.length < MAX_ENTRIES) {
    const entry = await guest.readVirtual(cpu, next, ENTRY_SIZE)
    const view = viewOf(entry)
    regions.push({
      start: Number(view.getBigUint64(START_PFN, true)) * PAGE_SIZE,
      end: Number(view.getBigUint64(END_PFN, true)) * PAGE_SIZE,
      node: view.getInt32(NID, true),
    })
    next = pointerAt(entry)
  }
  return regions
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const pointerAt = (bytes: Uint8Array): bigint =>
  viewOf(bytes).getBigUint64(0, true)

/** The value of a pointer of the kernel. @param variable its address */
export const readPointer = async (
  guest: Debugger,
  cpu: number,
  variable: bigint,
): Promise<bigint> => pointerAt(await guest.readVirtual(cpu, variable, 8))

/** The value of a `long` of the kernel. @param variable its address */
export const readNumber = async (
  guest: Debugger,
  cpu: number,
  variable: bigint,
): Promise<number> =>
  Number(BigInt.asIntN(64, await readPointer(guest, cpu, variable)))

/** COMMAND_LINE_SIZE (arch/x86/include/asm/setup.h). */
const MAX_STRING = 2048

/** The text a `char *` of the kernel points to. @param pointer its address */
export const readString = async (
  guest: Debugger,
  cpu: number,
  pointer: bigint,
): Promise<string | undefined> => {
  const address = pointerAt(await guest.readVirtual(cpu, pointer, 8))
  if (address === 0n) return undefined
  const pieces: Buffer[] = []
  let read = 0
  // Page by page: behind the page of its end nothing needs to be mapped.
  while (read < MAX_STRING) {
    const at = address + BigInt(read)
    const room = PAGE_SIZE - Number(at % BigInt(PAGE_SIZE))
    const length = Math.min(room, MAX_STRING - read)
    const piece = Buffer.from(await guest.readVirtual(cpu, at, length))
    const end = piece.indexOf(0)
    pieces.push(end < 0 ? piece : piece.subarray(0, end))
    if (end >= 0) break
    read += length
  }
  return Buffer.concat(pieces).toString('utf8')
}
