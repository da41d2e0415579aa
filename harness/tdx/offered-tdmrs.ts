import {
  type PhysicalMemory,
  firstKeyidAddress,
  isSharedAddress,
  physicalOf,
} from './host-memory.ts'
import { limitsOf } from './metadata-values.ts'
import type { Platform } from './platform.ts'
import { OPERAND, status } from './status.ts'
import { checkTdmr } from './sys-config.ts'
import {
  TDMR_INFO_ALIGNMENT,
  type TdmrInfo,
  decodeTdmrInfo,
  tdmrInfoSize,
} from './tdmr-info.ts'

/** What a host gives to TDH.SYS.CONFIG. */
interface OfferedTdmrs {
  /** All that could be read. */
  readonly tdmrs: readonly TdmrInfo[]
  /** The first status that fails; undefined: none does. */
  readonly wrong: bigint | undefined
}

/**
 * Reads and checks the TDMRs one by one, as the module does: what is wrong with
 * the first comes before the address of the second (tdh_sys_config.c).
 *
 * @param array physical address of the array of their addresses
 */
export const readTdmrs = async (
  platform: Platform,
  memory: PhysicalMemory,
  { array, count }: { readonly array: bigint; readonly count: number },
): Promise<OfferedTdmrs> => {
  const { maxReservedPerTdmr, pamtEntrySizes } = limitsOf(platform)
  const limits = {
    cmrs: platform.cmrs,
    maxAddress: firstKeyidAddress(platform),
    pamtEntrySizes,
  }
  const bytes = Buffer.from(
    await memory.read(physicalOf(platform, array), count * 8),
  )
  const tdmrs: TdmrInfo[] = []
  let wrong: bigint | undefined
  for (let i = 0; i < count; i++) {
    const address = bytes.readBigUInt64LE(8 * i)
    if (!isSharedAddress(platform, address, TDMR_INFO_ALIGNMENT)) {
      wrong ??= status('OPERAND_INVALID', OPERAND.RCX)
      break
    }
    const info = await memory.read(
      physicalOf(platform, address),
      tdmrInfoSize(maxReservedPerTdmr),
    )
    tdmrs.push(decodeTdmrInfo(info, maxReservedPerTdmr))
    wrong ??= checkTdmr(tdmrs, i, limits)
  }
  return { tdmrs, wrong }
}
