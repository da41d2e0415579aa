const TAB = 0x09
const LINE_FEED = 0x0a
const RETURN = 0x0d
const BLANK = 0x20
const DELETE = 0x7f

/** Four bytes of a word. */
const BLANKS = 0x20202020
const ONES = 0x01010101
const TOP_BITS = 0x80808080

/** Bytes in which two whole words need not be. */
const SMALL = 12

/** Lines of a small piece. */
const FEW = 64

/**
 * Where lines end in a piece of a text. All bytes are looked at here, eight at a
 * time, and few of them again. Kept for the next piece: what it has grown to is
 * enough for that as well.
 */
export class LineEnds {
  count = 0
  /** Places of line feeds. */
  feeds = new Int32Array()
  /** Returns, wherever they are. */
  returns = 0

  /**
   * @returns whether there is nothing but printable ASCII, tabs and ends of
   *   lines; if there is, what was found is of no use
   */
  find(bytes: Uint8Array): boolean {
    const { buffer, byteOffset, length } = bytes
    this.count = 0
    this.returns = 0
    if (length < SMALL) return this.#look(bytes, 0, length)
    const first = -byteOffset & 3
    const words = new Int32Array(
      buffer,
      byteOffset + first,
      ((length - first) >> 3) << 1,
    )
    const behind = first + 4 * words.length
    if (!this.#look(bytes, 0, first)) return false
    for (let i = 0; i < words.length; i += 2) {
      const one = words[i]!
      const two = words[i + 1]!
      // Top bits of what is below a blank, a delete, or beyond ASCII. A borrow or
      // a carry makes more of them, and never less.
      const signs = ((one - BLANKS) | (one + ONES) | one) & TOP_BITS
      const more = ((two - BLANKS) | (two + ONES) | two) & TOP_BITS
      if ((signs | more) === 0) continue
      const at = first + 4 * i
      const from = signs === 0 ? at + 4 : at
      const to = more === 0 ? at + 4 : at + 8
      if (!this.#look(bytes, from, to)) return false
    }
    return this.#look(bytes, behind, length)
  }

  /** One by one; false: there is something else. */
  #look(bytes: Uint8Array, from: number, to: number): boolean {
    for (let at = from; at < to; at++) {
      const byte = bytes[at]!
      if (byte === LINE_FEED) this.#take(at)
      else if (byte === RETURN) this.returns++
      else if (byte >= DELETE || (byte < BLANK && byte !== TAB)) return false
    }
    return true
  }

  #take(feed: number): void {
    if (this.count === this.feeds.length) {
      const { feeds } = this
      this.feeds = new Int32Array(Math.max(FEW, 2 * feeds.length))
      this.feeds.set(feeds)
    }
    this.feeds[this.count++] = feed
  }
}
