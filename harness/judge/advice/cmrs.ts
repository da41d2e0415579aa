import { formatRange } from '../../memory/range.ts'
import type { Subject } from './subject.ts'

/** What helps where memory is in no CMR. */
export const outsideCmrs = (subject: Subject): string[] => {
  const region = outsideRegion(subject)
  const added = subject.words.filter(word =>
    /^memmap=(?!.*[$#!]).*@/.test(word),
  )
  return [
    ...(region === undefined
      ? []
      : [`${region} is in the memory map and in no CMR`]),
    ...(added.length > 0
      ? [
          `'${added.join(' ')}' declares memory that the firmware does not: boot without it`,
        ]
      : []),
    'memory that was hot-added before the initialisation (CXL, NVDIMM or soft-reserved memory through kmem, DIMMs) is in no CMR: add it later, or keep the kmem and cxl drivers from loading before',
    'compare the CMRs with the memory map; where the firmware itself reports usable memory outside of CMRs, it is a bug of the firmware',
  ]
}

/** The first region by the model that no printed CMR contains. */
const outsideRegion = ({ facts, prediction }: Subject): string | undefined => {
  const { cmrs } = facts.tdx
  const range =
    facts.tdx.failedRange ??
    (cmrs &&
      prediction?.layout.regions.find(
        ({ start, end }) =>
          !cmrs.some(cmr => cmr.start <= start && end <= cmr.end),
      ))
  return range ? formatRange(range) : undefined
}
