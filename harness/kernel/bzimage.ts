import { open } from 'node:fs/promises'

/** Boot protocol: `HdrS` at 0x202, version string at [0x20e] + 0x200. */
const MAGIC_OFFSET = 0x202
const VERSION_POINTER = 0x20e
const HEADER_SIZE = 32 * 1024
const MAX_VERSION = 512

/**
 * What a bzImage says it is: `6.12.117 (who@where) #1 SMP ...`
 * (arch/x86/boot/version.c; Documentation/arch/x86/boot.rst).
 */
export const bzImageVersion = async (
  path: string,
): Promise<string | undefined> => {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(HEADER_SIZE),
      0,
      HEADER_SIZE,
      0,
    )
    const header = buffer.subarray(0, bytesRead)
    if (header.toString('latin1', MAGIC_OFFSET, MAGIC_OFFSET + 4) !== 'HdrS')
      return undefined
    const at = header.readUInt16LE(VERSION_POINTER) + 0x200
    const text = header.toString('latin1', at, at + MAX_VERSION)
    return text.slice(0, text.indexOf('\0'))
  } finally {
    await file.close()
  }
}

/** Release and build of a bzImage are those of a kernel's banner. */
export const isSameBuild = (
  banner: string,
  version: string | undefined,
): boolean => {
  const match = /^(\S+) \(.*?\) (#.*)$/.exec(version ?? '')
  return (
    match !== null &&
    banner.startsWith(`Linux version ${match[1]!} `) &&
    banner.endsWith(` ${match[2]!}`)
  )
}
