import { type Platform, privateKeyids } from './platform.ts'

/** Physical memory of the machine the module runs on. */
export interface PhysicalMemory {
  read(address: number, length: number): Promise<Uint8Array>
  write(address: number, bytes: Uint8Array): Promise<void>
}

type Addressed = Pick<Platform, 'keyids' | 'physicalBits'>

/** MAX_PA: KeyIDs are the highest of these bits. */
const MAX_PA = 52n

/** The first address with a KeyID in it. */
export const firstKeyidAddress = ({
  physicalBits,
}: Pick<Platform, 'physicalBits'>): bigint => 1n << BigInt(physicalBits)

/**
 * shared_hpa_check_with_pwr_2_alignment(): aligned, of 52 bits, and with a
 * KeyID below the first private one; only the first byte is looked at.
 */
export const isSharedAddress = (
  platform: Addressed,
  address: bigint,
  alignment: number,
): boolean => {
  const [firstPrivate] = privateKeyids(platform)
  return (
    address % BigInt(alignment) === 0n &&
    address < 1n << MAX_PA &&
    address >> BigInt(platform.physicalBits) < BigInt(firstPrivate)
  )
}

/** Without its KeyID. */
export const physicalOf = (
  platform: Pick<Platform, 'physicalBits'>,
  address: bigint,
): number => Number(address % firstKeyidAddress(platform))

export const isPrivateKeyid = (
  platform: Pick<Platform, 'keyids'>,
  hkid: bigint,
): boolean => {
  const [start, end] = privateKeyids(platform)
  return hkid >= BigInt(start) && hkid < BigInt(end)
}
