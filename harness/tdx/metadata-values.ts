import type { TdmrLimits } from '../memory/tdmr.ts'

/**
 * Fields of the metadata that kernels work with, by their names in the module
 * (global_metadata.json), and what every module that is known reports.
 */
export const METADATA = {
  MAX_TDMRS: { id: 0x9100000100000008n, usual: 64, bits: 16 },
  MAX_RESERVED_PER_TDMR: { id: 0x9100000100000009n, usual: 16, bits: 16 },
  PAMT_4K_ENTRY_SIZE: { id: 0x9100000100000010n, usual: 16, bits: 16 },
  PAMT_2M_ENTRY_SIZE: { id: 0x9100000100000011n, usual: 16, bits: 16 },
  PAMT_1G_ENTRY_SIZE: { id: 0x9100000100000012n, usual: 16, bits: 16 },
  /** Both depend on the module. */
  TDX_FEATURES0: { id: 0x0a00000300000008n, usual: undefined, bits: 53 },
  NUM_CPUID_CONFIG: { id: 0x9900000100000004n, usual: undefined, bits: 16 },
} as const satisfies Readonly<
  Record<
    string,
    {
      readonly id: bigint
      readonly usual: number | undefined
      readonly bits: number
    }
  >
>
export type MetadataName = keyof typeof METADATA

/** Values that take the place of the module's own; `missing`: no such field. */
export type MetadataValues = Readonly<
  Partial<Record<MetadataName, number | 'missing'>>
>

export const METADATA_NAMES = Object.keys(METADATA) as [
  MetadataName,
  ...MetadataName[],
]

/** The value a platform gives to a field; undefined: the usual one. */
export const metadataValue = (
  values: MetadataValues,
  id: bigint,
): number | 'missing' | undefined => {
  const name = METADATA_NAMES.find(one => METADATA[one].id === id)
  return name && values[name]
}

/** A number in any case: where the field is missing nothing is made of it. */
const numberOf = (values: MetadataValues, name: MetadataName): number => {
  const value = values[name]
  return typeof value === 'number' ? value : (METADATA[name].usual ?? 0)
}

/** What the TDMRs of a platform must be like. */
export const limitsOf = ({
  metadata,
}: {
  readonly metadata: MetadataValues
}): TdmrLimits => ({
  maxTdmrs: numberOf(metadata, 'MAX_TDMRS'),
  maxReservedPerTdmr: numberOf(metadata, 'MAX_RESERVED_PER_TDMR'),
  pamtEntrySizes: [
    numberOf(metadata, 'PAMT_4K_ENTRY_SIZE'),
    numberOf(metadata, 'PAMT_2M_ENTRY_SIZE'),
    numberOf(metadata, 'PAMT_1G_ENTRY_SIZE'),
  ],
})

/** Those of every module that is known. */
export const MODULE_LIMITS: TdmrLimits = limitsOf({ metadata: {} })
