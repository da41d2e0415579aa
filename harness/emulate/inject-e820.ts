import { type E820Entry, ZEROPAGE_ENTRIES } from '../memory/e820.ts'
import { BOOT_ENTRY, SETUP_HEADER } from '../board/setup-data.ts'
import type { Range } from '../memory/range.ts'
import type { Debugger } from './debugger.ts'

/** A memory map the kernel is to be given, and where the rest of it goes. */
export interface GivenMap {
  readonly e820: readonly E820Entry[]
  /** Room for the entries beyond the 128th; undefined when there are none. */
  readonly setupData: Range | undefined
}

/** struct boot_params (arch/x86/include/uapi/asm/bootparam.h). */
const E820_ENTRIES = 0x1e8
const SETUP_DATA = 0x250
const E820_TABLE = 0x2d0

/** enum of setup_data types. */
const SETUP_E820_EXT = 1

/**
 * Puts a memory map in place of the firmware's, in a guest that has stopped at
 * x86_64_start_kernel(): whichever way it was started, RDI has the physical
 * address of its boot parameters, and copy_bootdata() is yet to copy them to
 * where setup_arch() reads them (arch/x86/kernel/head64.c).
 */
export const injectE820 = async (
  guest: Debugger,
  cpu: number,
  { e820, setupData }: GivenMap,
): Promise<void> => {
  const first = e820.slice(0, ZEROPAGE_ENTRIES)
  const bootParams = Number((await guest.registers(cpu)).rdi)
  const write = (offset: number, bytes: Uint8Array): Promise<void> =>
    guest.writePhysical(bootParams + offset, bytes)
  await write(E820_ENTRIES, Uint8Array.of(first.length))
  await write(E820_TABLE, encodeEntries(first))
  if (!setupData) return
  const next = await guest.readPhysical(bootParams + SETUP_DATA, 8)
  await guest.writePhysical(
    setupData.start,
    Buffer.concat([
      next,
      header(e820.length - ZEROPAGE_ENTRIES),
      encodeEntries(e820.slice(ZEROPAGE_ENTRIES)),
    ]),
  )
  await write(SETUP_DATA, u64(setupData.start))
}

/** All of struct setup_data but its pointer to the next one. */
const header = (entries: number): Buffer => {
  const bytes = Buffer.alloc(SETUP_HEADER - 8)
  bytes.writeUInt32LE(SETUP_E820_EXT, 0)
  bytes.writeUInt32LE(entries * BOOT_ENTRY, 4)
  return bytes
}

const encodeEntries = (entries: readonly E820Entry[]): Buffer =>
  Buffer.concat(
    entries.map(({ start, end, type }) => {
      const kind = Buffer.alloc(4)
      kind.writeUInt32LE(type)
      return Buffer.concat([u64(start), u64(end - start), kind])
    }),
  )

const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}
