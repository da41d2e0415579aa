/** Texts along a line, none over another. */
export interface Label {
  readonly text: string
  readonly kind: string
  /** What it belongs to. */
  readonly anchor: number
  readonly length: number
  /** The smallest are placed first; what finds no room is left out. */
  readonly weight: number
}

export interface PlacedLabel extends Label {
  /** Where the text begins. */
  readonly at: number
  /** From 0, downwards. */
  readonly row: number
}

const GAP = 8

/**
 * Puts each label where it fits, in the first row that has room for it right
 * of its anchor, or left of it at the end of the line.
 */
export const placeLabels = (
  labels: readonly Label[],
  { width, rows }: { readonly width: number; readonly rows: number },
): PlacedLabel[] => {
  const placed: PlacedLabel[] = []
  const order = [...labels].sort(
    (a, b) => a.weight - b.weight || a.anchor - b.anchor,
  )
  for (const label of order) {
    if (label.length > width) continue
    const at = Math.max(0, Math.min(label.anchor, width - label.length))
    const row = Array.from({ length: rows }, (_, i) => i).find(candidate =>
      placed.every(
        other =>
          other.row !== candidate ||
          at + label.length + GAP <= other.at ||
          other.at + other.length + GAP <= at,
      ),
    )
    if (row !== undefined) placed.push({ ...label, at, row })
  }
  return placed.sort((a, b) => a.anchor - b.anchor)
}
