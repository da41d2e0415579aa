/** A layout that its kernel does not survive. */
export interface FatalLayout {
  /** Memory without a node, fake nodes without distances, no low memory. */
  readonly of: 'node' | 'distances' | 'trampoline'
  /** In a sentence that goes on from "the kernel panics". */
  readonly why: string
}
