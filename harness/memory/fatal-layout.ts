/** A layout that its kernel does not survive. */
export interface FatalLayout {
  /** Too short a map, memory without a node, fake nodes without distances, no low memory. */
  readonly of: 'map' | 'node' | 'distances' | 'trampoline'
  /** In a sentence that goes on from "the kernel panics". */
  readonly why: string
}
