/**
 * FNV-1a of 64 bits, as hexadecimal digits: it tells a changed image, and
 * nobody attacks a model.
 */
export const digest = (bytes: Uint8Array): string => {
  let hash = 0xcbf29ce484222325n
  for (const byte of bytes)
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
  return hash.toString(16).padStart(16, '0')
}
