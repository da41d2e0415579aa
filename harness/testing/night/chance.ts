import { createHash } from 'node:crypto'

/** From 0 to 1, the same for the same words. */
export const chance = (...words: readonly (string | number)[]): number =>
  createHash('sha256').update(words.join('\n')).digest().readUInt32LE(0) /
  2 ** 32
