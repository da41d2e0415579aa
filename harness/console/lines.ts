/** Longest line that is interpreted; the rest of it is only kept raw. */
export const MAX_LINE = 8192

/**
 * Splits a byte stream into lines, whatever the chunks look like. Memory is
 * bounded: of an endless line the first {@link MAX_LINE} bytes are given out
 * and the rest is skipped up to the next line feed.
 */
export class LineSplitter {
  #pending: Buffer[] = []
  #pendingBytes = 0
  #skipping = false

  /** @returns the lines that are complete now, without their line feed */
  push(chunk: Uint8Array): string[] {
    const lines: string[] = []
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    let start = 0
    for (;;) {
      const end = bytes.indexOf(0x0a, start)
      if (end < 0) break
      this.#keep(bytes.subarray(start, end))
      lines.push(this.#take())
      start = end + 1
    }
    this.#keep(bytes.subarray(start))
    return lines
  }

  /** @returns the last line when the stream ended without a line feed */
  end(): string[] {
    return this.#pendingBytes > 0 ? [this.#take()] : []
  }

  #keep(part: Buffer): void {
    if (this.#skipping || part.length === 0) return
    const room = MAX_LINE - this.#pendingBytes
    // A copy: the caller may reuse the chunk's memory.
    this.#pending.push(Buffer.from(part.subarray(0, room)))
    this.#pendingBytes += Math.min(part.length, room)
    this.#skipping = part.length >= room
  }

  #take(): string {
    const line = Buffer.concat(this.#pending).toString('utf8')
    this.#pending = []
    this.#pendingBytes = 0
    this.#skipping = false
    return line
  }
}
