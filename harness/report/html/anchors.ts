/** Where the part of a case is in a report. */
export const caseAnchor = (index: number): string => `#case-${index}`

/** The case that an address points to; undefined: none. */
export const caseOfAnchor = (hash: string): number | undefined => {
  const [, index] = /^#case-(\d{1,9})$/.exec(hash) ?? []
  return index === undefined ? undefined : Number(index)
}
