/** One entry of an archive in the kernel's initramfs format. */
export interface CpioEntry {
  /** Without a leading slash. */
  readonly name: string
  /** Type and permission bits (st_mode). */
  readonly mode: number
  readonly data?: Uint8Array
  /** Device number, for device nodes. */
  readonly device?: { readonly major: number; readonly minor: number }
}

export const MODE = {
  FILE: 0o100000,
  DIRECTORY: 0o040000,
  CHARACTER_DEVICE: 0o020000,
} as const

const TRAILER = 'TRAILER!!!'

/**
 * Writes the "newc" format (Documentation/driver-api/early-userspace/
 * buffer-format.rst): ASCII header fields of 8 hex digits, names and data
 * padded to 4 bytes. Times and inode numbers are constant, so equal input
 * gives equal bytes.
 */
export const writeCpio = (entries: readonly CpioEntry[]): Uint8Array => {
  const members = [...entries, { name: TRAILER, mode: 0 }]
  return Buffer.concat(members.flatMap((entry, i) => member(entry, i + 1)))
}

const member = (entry: CpioEntry, inode: number): Buffer[] => {
  const name = Buffer.from(`${entry.name}\0`)
  const data = Buffer.from(entry.data ?? [])
  const fields = [
    inode,
    entry.mode,
    0, // uid
    0, // gid
    1, // nlink
    0, // mtime
    data.length,
    0, // major of the file system
    0, // minor
    entry.device?.major ?? 0,
    entry.device?.minor ?? 0,
    name.length,
    0, // check
  ]
  const header = `070701${fields.map(field => field.toString(16).padStart(8, '0')).join('')}`
  return [pad(Buffer.concat([Buffer.from(header), name])), pad(data)]
}

const pad = (bytes: Buffer): Buffer =>
  Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)])
