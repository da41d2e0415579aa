import type { JSX } from 'preact'
import type { MarkKind } from '../picture/picture.ts'

/** What the colours of a picture stand for; see picture/style.ts. */
const COLOURS: readonly (readonly [kind: MarkKind, meaning: string])[] = [
  ['usable', 'usable RAM'],
  ['reserved', 'reserved by the firmware or the command line'],
  ['acpi', 'ACPI tables'],
  ['persistent', 'persistent or soft-reserved memory'],
  ['parameter', 'named by mem= or memmap='],
  ['hole', 'reserved area: memory of a TDMR that TDX must not use'],
  ['cmr', 'CMR: memory that the platform can convert for TDX'],
]

/** How to read the pictures, for whoever sees them for the first time. */
export const Legend = (): JSX.Element => (
  <details class="legend">
    <summary>how to read the pictures</summary>
    <ul class="map">
      {COLOURS.map(([kind, meaning]) => (
        <li key={kind}>
          <svg width="14" height="10" aria-hidden="true">
            <rect class={kind} width="14" height="10" />
          </svg>{' '}
          {meaning}
        </li>
      ))}
    </ul>
    <p>
      Memblock and TDX regions are coloured by NUMA node, TDMRs and PAMTs by
      their number. The kernel hands its memory to the TDX module as TDMRs (TD
      memory regions of whole GiB); a PAMT (physical address metadata table) is
      the memory that the module needs to keep track of one. Pale lanes are
      predicted, full ones were built; a dashed red frame is where they differ.
      Regions are counted from 0. Small ranges are drawn larger than they are.
    </p>
  </details>
)
