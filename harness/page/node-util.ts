/** What the pure layers use of node:util, for a browser. */

/** A value in a message: short, whatever it is. */
export const inspect = (value: unknown): string =>
  typeof value === 'bigint' ? `${value}n` : JSON.stringify(value)
