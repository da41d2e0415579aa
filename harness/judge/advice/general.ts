import { memoryParameters } from '../../memory/cmdline.ts'
import { callerIn } from '../../tdx/series/callers.ts'
import {
  behindDashes,
  isCut,
  mangledText,
  mangledWords,
} from '../../memory/mangled.ts'
import { anyLeafName, isRuntimeLeaf } from '../../tdx/decode.ts'
import { complaintTexts } from '../platform.ts'
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

/** What KVM misses, of a machine on which the module was initialised. */
const refusals = ({ facts }: Subject): Subject['facts']['tdx']['lines'] =>
  facts.tdx.lines.filter(({ text }) =>
    /^kvm_intel: (?:tdx: )?(?:EPT|TDP MMU|APICv|OSXSAVE|MOVDIR64B|Self-snoop).* required for TDX|^TDX requires TDP MMU|requires kvm\.enable_virt_at_load/.test(
      text,
    ),
  )

/** Parameters that switch off what KVM wants for TDX. */
const OFF =
  /^(?:kvm[-_]intel\.(?:enable_apicv|ept|eptad)|kvm\.(?:tdp_mmu|mmio_caching|enable_virt_at_load))=(?:0|[nN]|[oO][fF])/

const switchedOff = ({ words }: Subject): string => {
  const off = words.filter(word => OFF.test(word))
  return off.length === 0
    ? ''
    : `; '${off.join(' ')}' switches it off: boot without`
}

/** What is wrong with memory parameters, where the reason is not known. */
const misread = ({ words }: Subject) => {
  const known = mangledWords(words.join(' ')).map(({ word }) => word)
  return memoryParameters(words.filter(word => !known.includes(word)).join(' '))
    .errors
}

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
    // A scenario that asks for one knows where it comes from.
    applies: ({ facts }) =>
      facts.incidents.some(({ kind }) => kind === 'machine check') &&
      facts.guest.steps.every(({ kind }) => kind !== 'machine-check'),
    advice: [
      'something outside of TDX wrote a part of a cache line of private memory, and its next reader got the machine check: look for code that writes to memory it has given to the module, by other means than whole 64 bytes',
    ],
  },
  {
    applies: ({ facts }) =>
      facts.tdx.outcome === 'initialized' &&
      facts.incidents.length > 0 &&
      facts.incidents.every(({ kind }) => kind !== 'machine check'),
    advice: ({ facts }) => {
      const [first] = facts.incidents
      return [
        `TDX works; the kernel complains about something else in line ${first?.line ?? 0}: '${first?.text ?? ''}'`,
      ]
    },
  },
  {
    applies: subject =>
      subject.facts.tdx.outcome === 'initialized' &&
      refusals(subject).length > 0,
    advice: subject =>
      refusals(subject).map(
        ({ text, line }) =>
          `KVM leaves TDX off all the same, and QEMU says that vm-type tdx is not supported: line ${line}, '${text}'${switchedOff(subject)}`,
      ),
  },
  {
    applies: ({ facts }) =>
      facts.tdx.outcome === 'initialized' &&
      facts.platform?.kvmTdx?.isOn === false,
    advice: [
      "TDX is initialised and kvm_intel.tdx is N: load kvm_intel with tdx=1; where that was done, the kernel's log says why KVM gave up",
    ],
  },
  {
    // enable_tdx is false by default (arch/x86/kvm/vmx/tdx.c of 7.3).
    applies: subject =>
      subject.facts.tdx.outcome === 'initialized' &&
      callerIn(subject.facts.kernel) === 'kernel' &&
      subject.facts.cmdline !== null &&
      // What the module itself says has the last word.
      !subject.facts.platform?.kvmTdx &&
      !subject.words.some(word => /^kvm[-_]intel\.tdx(?:=|$)/.test(word)),
    advice: [
      "this kernel initialises TDX by itself, and KVM offers TDs only with 'kvm_intel.tdx=1', on the command line or in /etc/modprobe.d: look at /sys/module/kvm_intel/parameters/tdx",
    ],
  },
  {
    applies: ({ facts }) =>
      facts.tdx.lines.some(({ text }) =>
        /all packages to have an online CPU|All packages need to have online CPU/.test(
          text,
        ),
      ),
    advice: [
      'a package has no CPU that is online: a TD is created and torn down with one of each; bring a CPU of each package online',
    ],
  },
  {
    applies: ({ facts }) =>
      facts.tdx.lines.some(({ text }) =>
        text.includes('TDH.SYS.DISABLE failed'),
      ),
    advice: [
      'the module could not be shut down before kexec: the next kernel cannot initialise it; end all TDs first, or reboot through the firmware',
    ],
  },
  {
    applies: ({ facts }) =>
      facts.tdx.lines.some(({ text }) => text.includes('MAX_VCPU_PER_TD')),
    advice: [
      'KVM leaves TDX off: a TD of this module has fewer vCPUs than the machine has CPUs; update the module, or use fewer CPUs (nosmt)',
    ],
  },
  {
    applies: ({ facts }) => complaintTexts(facts).length > 0,
    advice: ({ facts }) => complaintTexts(facts),
  },
  {
    applies: ({ facts }) => mangledWords(facts.cmdline ?? '').length > 0,
    advice: ({ facts }) => mangledWords(facts.cmdline ?? '').map(mangledText),
  },
  {
    applies: subject => misread(subject).length > 0,
    advice: subject =>
      misread(subject).map(
        ({ element, message }) =>
          `'${element.slice(0, 80)}' on the command line: ${message}`,
      ),
  },
  {
    applies: ({ facts }) => isCut(facts.cmdline ?? ''),
    advice: [
      'the command line is as long as a kernel takes (2,047 characters): what was behind is lost',
    ],
  },
  {
    applies: ({ facts }) => behindDashes(facts.cmdline ?? '').length > 0,
    advice: ({ facts }) => [
      `'${behindDashes(facts.cmdline ?? '').join(' ')}' stands behind '--', where words are for init: the kernel does not see it`,
    ],
  },
  {
    applies: ({ facts }) => facts.dropped > 0,
    advice: ({ facts }) => [
      `the console lost ${facts.dropped} messages: what is not here may have been said`,
    ],
  },
]
