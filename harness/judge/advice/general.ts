import { memoryParameters } from '../../memory/cmdline.ts'
import { anyLeafName, isRuntimeLeaf } from '../../tdx/decode.ts'
import type { Known, Subject } from './subject.ts'

/** What is worth a word whatever became of TDX. */

type General = Omit<Known, 'cause'>

const runtimeCalls = ({ facts }: Subject): readonly string[] => [
  ...new Set(
    facts.tdx.failedSeamcalls
      .filter(({ leaf }) => isRuntimeLeaf(leaf))
      .map(({ leaf }) => anyLeafName(leaf)),
  ),
]

/** A `$` that a shell or GRUB took leaves the address glued to the size. */
const EATEN = /^memmap=\d+[KMGkmg]?(?:0x[0-9a-f]+|\d*)$/i

export const GENERAL: readonly General[] = [
  {
    applies: subject =>
      subject.facts.tdx.outcome === 'initialized' &&
      runtimeCalls(subject).length > 0,
    advice: subject => [
      `${runtimeCalls(subject).join(', ')} failed, which is no part of the initialisation`,
    ],
  },
  {
    applies: ({ facts }) =>
      facts.tdx.outcome === 'initialized' && facts.incidents.length > 0,
    advice: ({ facts }) => {
      const [first] = facts.incidents
      return [
        `TDX works; the kernel complains about something else in line ${first?.line ?? 0}: '${first?.text ?? ''}'`,
      ]
    },
  },
  {
    applies: ({ facts }) =>
      facts.tdx.lines.some(({ text }) => text.includes('MAX_VCPU_PER_TD')),
    advice: [
      'KVM leaves TDX off: a TD of this module has fewer vCPUs than the machine has CPUs; update the module, or use fewer CPUs (nosmt)',
    ],
  },
  {
    applies: ({ words }) => words.some(word => EATEN.test(word)),
    advice: ({ words }) =>
      words
        .filter(word => EATEN.test(word))
        .map(
          word =>
            `'${word}' has no address: a '$' was probably eaten by GRUB or a shell, where it must be escaped`,
        ),
  },
  {
    applies: ({ words }) => memoryParameters(words.join(' ')).errors.length > 0,
    advice: ({ words }) =>
      memoryParameters(words.join(' ')).errors.map(
        ({ element, message }) =>
          `'${element.slice(0, 80)}' on the command line is not accepted: ${message}`,
      ),
  },
  {
    applies: ({ facts }) => facts.dropped > 0,
    advice: ({ facts }) => [
      `the console lost ${facts.dropped} messages: what is not here may have been said`,
    ],
  },
]
