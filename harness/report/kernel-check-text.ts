import type { Site, SiteForm } from '../emulate/sites.ts'
import { type InterposedCode, hostsTdx } from '../emulate/kernel-sites.ts'
import { type KernelTraits, isTooOld } from '../kernel/kernel-traits.ts'
import { whyUnknown } from '../tdx/series/recognise.ts'
import type { BuiltKernel } from '../kernel/cache.ts'
import type { Options } from '../kernel/config.ts'
import { hex } from '../base/units.ts'

/** What is known of a kernel that `kernel check` looks at. */
export interface CheckedKernel {
  readonly built: BuiltKernel
  /** Undefined when there is no .config. */
  readonly options: Options | undefined
  readonly traits: KernelTraits
  readonly code: InterposedCode
}

/** One thing the rig looks for. */
export interface Finding {
  readonly what: string
  readonly found: string
  /** `bad`: without it the rig cannot boot this kernel. */
  readonly state: 'good' | 'limited' | 'bad'
}

const finding = (
  what: string,
  state: Finding['state'],
  found: string,
): Finding => ({ what, state, found })

/** Everything the rig can or cannot use of a kernel. */
export const findings = ({
  built,
  options,
  traits,
  code,
}: CheckedKernel): Finding[] => [
  isTooOld(traits)
    ? finding('kernel', 'bad', `${traits.release ?? ''}: 5.19 is the oldest`)
    : finding('kernel', 'good', traits.release ?? 'a release it does not name'),
  finding('symbols', 'good', `${traits.symbols} in the vmlinux`),
  hostSupport(options, code),
  ...(hostsTdx(code) ? tdxFindings(built, traits, code) : []),
  start(built, traits),
  ...(options ? [speaks(options), dimms(options)] : []),
]

/** What matters where there is TDX host support. */
const tdxFindings = (
  built: BuiltKernel,
  traits: KernelTraits,
  code: InterposedCode,
): Finding[] => [
  series(traits),
  ...sites(code),
  x2apic(code),
  traits.hasMemlist
    ? finding('region list', 'good', 'read from memory (tdx_memlist)')
    : finding(
        'region list',
        'limited',
        'there is no symbol tdx_memlist (CONFIG_KALLSYMS_ALL)',
      ),
  traits.printsRegions
    ? finding('printed regions', 'good', 'TDX memory region: [mem ...] node N')
    : finding('printed regions', 'limited', 'none: not patched to print them'),
  trigger(built, traits),
]

const hostSupport = (
  options: Options | undefined,
  code: InterposedCode,
): Finding => {
  const what = 'TDX host support'
  const { missing, marks } = code
  const value = options?.get('INTEL_TDX_HOST') ?? 'n'
  if (!hostsTdx(code) && marks.length === 0 && value !== 'y')
    return finding(
      what,
      'limited',
      `${options && value !== 'y' ? 'CONFIG_INTEL_TDX_HOST is not set' : 'none'}: the memory layout is judged, TDX is not`,
    )
  if (missing.length > 0)
    return finding(what, 'bad', `expected ${missing.join(' and ')}, found none`)
  if (options && value !== 'y')
    return finding(
      what,
      'limited',
      'in the image, and not in its .config: do they belong together?',
    )
  return finding(
    what,
    'good',
    options ? `CONFIG_INTEL_TDX_HOST=${value}` : 'in the image (no .config)',
  )
}

const series = ({ series: known, release }: KernelTraits): Finding =>
  known
    ? finding('series', 'good', known.summary)
    : finding(
        'series',
        'limited',
        `${whyUnknown(release)}: how TDX ends is not predicted`,
      )

const FORMS: Readonly<Record<SiteForm, string>> = {
  instruction: '',
  rdmsr: ', rdmsr',
  'read-msr-call': ', call of native_read_msr_safe',
}

const place = ({ symbol, address, form }: Site): string =>
  `${symbol} at ${hex(address)}${FORMS[form]}`

const sites = ({ sites: all }: InterposedCode): Finding[] => {
  const of = (kind: Site['kind']): Site[] =>
    all.filter(site => site.kind === kind)
  const row = (what: string, kind: Site['kind']): Finding => {
    const found = of(kind)
    return found.length > 0
      ? finding(what, 'good', found.map(place).join('; '))
      : finding(what, 'bad', 'not found')
  }
  return [
    row('SEAMCALL', 'seamcall'),
    row('MSR 0x87', 'keyid-msr'),
    vmx(of('vmxon'), of('vmxoff')),
  ]
}

/** Kernels since 7.1 turn VMX on, which no emulated CPU has. */
const vmx = (on: readonly Site[], off: readonly Site[]): Finding => {
  if (on.length === 0 && off.length === 0)
    return finding('VMX', 'good', 'left to whoever initialises TDX')
  return on.length > 0 && off.length > 0
    ? finding('VMX', 'good', [...on, ...off].map(place).join('; '))
    : finding(
        'VMX',
        'limited',
        `expected VMXON and VMXOFF, found ${on.length > 0 ? 'VMXON' : 'VMXOFF'} alone: a CPU that goes offline is not emulated`,
      )
}

const x2apic = ({ sites: all, x2apicBit }: InterposedCode): Finding => {
  if (!all.some(({ kind }) => kind === 'apic-base-msr'))
    return finding('x2APIC', 'good', 'TDX does not ask for it')
  return x2apicBit
    ? finding('x2APIC', 'good', 'asked for; the rig answers')
    : finding(
        'x2APIC',
        'limited',
        'asked for, and what x2apic_enabled() reads was not found: TDX will be disabled',
      )
}

const start = ({ bzImage }: BuiltKernel, { pvh }: KernelTraits): Finding => {
  if (pvh) return finding('start', 'good', 'vmlinux, through PVH')
  return bzImage === undefined
    ? finding('start', 'bad', 'no CONFIG_PVH, and no bzImage')
    : finding('start', 'good', `${bzImage} (no CONFIG_PVH)`)
}

const trigger = (
  { trigger: module, noTrigger }: BuiltKernel,
  { trigger: kind }: KernelTraits,
): Finding => {
  if (kind === 'at boot')
    return finding('trigger', 'good', 'none: it initialises TDX as it boots')
  if (kind === 'none')
    return finding('trigger', 'limited', 'tdx_enable() is not exported')
  return module === undefined
    ? finding('trigger', 'limited', `no module: ${noTrigger ?? 'unknown'}`)
    : finding('trigger', 'good', `module: ${kind}`)
}

/** What the rig reads, and what it starts. */
const speaks = (options: Options): Finding => {
  const missing = [
    'PRINTK',
    'SERIAL_8250_CONSOLE',
    'BLK_DEV_INITRD',
    'BINFMT_ELF',
  ].filter(name => options.get(name) !== 'y')
  return missing.length === 0
    ? finding('console and init', 'good', 'serial console, initramfs')
    : finding(
        'console and init',
        'bad',
        missing.map(name => `CONFIG_${name} is not y`).join('; '),
      )
}

/** Steps that plug DIMMs need ACPI, and a second serial port for answers. */
const dimms = (options: Options): Finding => {
  const missing = ['ACPI_HOTPLUG_MEMORY', 'SYSFS'].filter(
    name => options.get(name) !== 'y',
  )
  const ports = Number(options.get('SERIAL_8250_RUNTIME_UARTS') ?? 0)
  return missing.length === 0 && ports >= 2
    ? finding('plug and online', 'good', 'ACPI memory hot-plug, two UARTs')
    : finding(
        'plug and online',
        'limited',
        [
          ...missing.map(name => `CONFIG_${name} is not set`),
          ...(ports < 2
            ? [`CONFIG_SERIAL_8250_RUNTIME_UARTS=${ports}, 2 are needed`]
            : []),
        ].join('; '),
      )
}

const MARK: Readonly<Record<Finding['state'], string>> = {
  good: 'ok',
  limited: '--',
  bad: 'NO',
}

/** One line a finding, and what comes of them. */
export const findingsText = (
  name: string,
  list: readonly Finding[],
): string => {
  const width = Math.max(...list.map(({ what }) => what.length))
  return [
    name,
    ...list.map(
      ({ what, state, found }) =>
        `  ${MARK[state]}  ${what.padEnd(width)}  ${found.replaceAll('\n', '\n      ')}`,
    ),
    isUsable(list) ? '  the rig can boot it' : '  the rig cannot boot it',
    '',
  ].join('\n')
}

export const isUsable = (list: readonly Finding[]): boolean =>
  list.every(({ state }) => state !== 'bad')
