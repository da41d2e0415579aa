/** The framing of the GDB remote serial protocol: `$payload#checksum`. */

/** QEMU's stub takes and gives 4096 characters a packet (gdbstub.c). */
export const MAX_PACKET = 4096

const checksum = (payload: string): string => {
  let sum = 0
  for (let i = 0; i < payload.length; i++)
    sum = (sum + payload.charCodeAt(i)) & 0xff
  return sum.toString(16).padStart(2, '0')
}

export const encodePacket = (payload: string): string =>
  `$${payload}#${checksum(payload)}`

/** Cuts packets out of a stream; acknowledgements between them are dropped. */
export class PacketReader {
  #buffer = ''

  /**
   * @returns the payloads that are complete now
   * @throws Error on a wrong checksum: a unix socket loses nothing
   */
  push(chunk: string): string[] {
    this.#buffer += chunk
    const payloads: string[] = []
    for (;;) {
      const start = this.#buffer.indexOf('$')
      const end = this.#buffer.indexOf('#', start)
      if (start < 0 || end < 0 || this.#buffer.length < end + 3) break
      const payload = this.#buffer.slice(start + 1, end)
      const sum = this.#buffer.slice(end + 1, end + 3)
      if (sum !== checksum(payload))
        throw new Error(
          `gdbstub sent a packet with checksum ${sum}: ${payload}`,
        )
      payloads.push(payload)
      this.#buffer = this.#buffer.slice(end + 3)
    }
    return payloads
  }
}

export const toHex = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')

/** A 64-bit register as the protocol writes it: little-endian hex. */
export const registerHex = (value: bigint, bytes: number): string => {
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64LE(BigInt.asUintN(64, value))
  return buffer.toString('hex', 0, bytes)
}
