import { own } from './lines.ts'

/** Records of a boot that are remembered. */
const REMEMBERED = 8192

/** What a boot has said, by its stamps, so that a replay is known again. */
export class Said {
  /** Most stamps have one text. */
  readonly #byTime = new Map<number, string | Set<string>>()
  #count = 0

  /** Different stamps, but for 0: until a clock runs everything has that. */
  get stamps(): number {
    return this.#byTime.size - (this.#byTime.has(0) ? 1 : 0)
  }

  /** Nothing more is remembered. */
  get isFull(): boolean {
    return this.#count >= REMEMBERED
  }

  has(time: number, text: string): boolean {
    const texts = this.#byTime.get(time)
    return typeof texts === 'string' ? texts === text : !!texts?.has(text)
  }

  /** What comes behind the first thousands is let go. */
  add(time: number, text: string): void {
    if (this.isFull) return
    this.#count++
    const texts = this.#byTime.get(time)
    if (texts === undefined) this.#byTime.set(time, own(text))
    else if (typeof texts !== 'string') texts.add(own(text))
    else this.#byTime.set(time, new Set([texts, own(text)]))
  }
}
