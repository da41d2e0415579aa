import { create } from 'xmlbuilder2'
import type { ParserOptions } from 'xmlbuilder2/lib/interfaces.js'
import { UsageError, messageOf } from '../base/errors.ts'
import { shellQuote } from '../base/shell.ts'
import { type Form, type Handed, lineAt, nothingMore } from './form.ts'
import { type Command, SHELL, commandsOf, shellTakes } from './script.ts'

/** Forms that hand on what they get, once their own syntax is off. */

/** What a shell gives a program, by the option in front of it. */
const shellOptions = (
  script: string,
  isProgram: (name: string) => boolean,
  options: readonly string[],
): Handed[] => {
  const found: Handed[] = []
  for (const command of commandsOf(script, SHELL, () => undefined)) {
    const program = command.words.findIndex(({ text }) =>
      isProgram(text.slice(text.lastIndexOf('/') + 1)),
    )
    if (program >= 0) found.push(...optionsOf(command, options))
  }
  return found
}

const optionsOf = (
  { line, words }: Command,
  options: readonly string[],
): Handed[] =>
  words.flatMap((word, i): Handed[] => {
    const option = options.find(
      one => word.text === one || word.text.startsWith(`${one}=`),
    )
    if (option === undefined) return []
    const value = word.text === option ? words[i + 1] : word
    return [
      {
        line,
        entry: undefined,
        cmdline:
          value === word
            ? word.text.slice(option.length + 1)
            : (value?.text ?? ''),
        unknown: [],
        losses: (value?.unset ?? []).map(
          name => `the shell ${shellTakes(name)}`,
        ),
      },
    ]
  })

const isQemu = (name: string): boolean =>
  /^(?:qemu-system-\w+|qemu-kvm|kvm)$/.test(name)

export const kexecForm: Form = {
  title: 'kexec',
  place: 'an option of kexec -l, in a shell',
  refuses: () => undefined,
  write: words => ({
    ...nothingMore,
    text: `--command-line=${shellQuote(words.join(' '))}`,
  }),
  read: text =>
    shellOptions(text, name => name === 'kexec', [
      '--command-line',
      '--append',
    ]),
  isLike: text => /(?:^|[\s/;&|])kexec\s/m.test(text),
}

export const qemuForm: Form = {
  title: 'QEMU',
  place: 'an option of qemu-system-x86_64 beside -kernel, in a shell',
  refuses: () => undefined,
  write: words => ({
    ...nothingMore,
    text: `-append ${shellQuote(words.join(' '))}`,
  }),
  read: text => shellOptions(text, isQemu, ['-append', '--append']),
  isLike: text =>
    /(?:^|[\s/;&|])(?:qemu-system-\w+|qemu-kvm|kvm)\s/m.test(text),
}

/**
 * What separates words in iPXE (split_command(), src/core/exec.c) cannot be
 * guarded: it knows neither quotes nor backslashes.
 */
const IPXE_ENDS = new Set(['&&', '||', ';'])

const ipxeRefuses = (word: string): string | undefined => {
  if (/\$\{[^}]*\}/.test(word))
    return 'iPXE puts a setting in the place of ${...}'
  if (/[ \t]{2}|\t/.test(word)) return 'iPXE makes one blank of several'
  const [first = ''] = word.split(' ')
  if (word.split(' ').some(part => part.startsWith('#')))
    return 'iPXE takes a word that begins with # for a comment'
  if (word.split(' ').some(part => IPXE_ENDS.has(part)))
    return `iPXE ends a command at ${first}`
  return undefined
}

/** Lines that end in a backslash go on in the next one. */
const ipxeLines = (text: string): { line: number; text: string }[] => {
  const lines: { line: number; text: string }[] = []
  let open: { line: number; text: string } | undefined
  for (const [i, raw] of text.split('\n').entries()) {
    const one = raw.replace(/\r$/, '')
    open ??= { line: i + 1, text: '' }
    open.text += one.replace(/\\$/, '')
    if (one.endsWith('\\')) continue
    lines.push(open)
    open = undefined
  }
  return open ? [...lines, open] : lines
}

const IPXE_LOADS = /^(?:kernel|boot|chain|imgargs|imgexec)$/

/** Commands of a line, each a list of words. */
const ipxeCommands = (line: string): string[][] => {
  const commands: string[][] = [[]]
  for (const word of line
    .trim()
    .replace(/^:\S*\s*/, '')
    .split(/\s+/)) {
    if (word.startsWith('#')) break
    if (IPXE_ENDS.has(word)) commands.push([])
    else if (word !== '') commands.at(-1)?.push(word)
  }
  return commands
}

/** expand_settings() (src/core/settings.c). */
const expandIpxe = (
  word: string,
  settings: ReadonlyMap<string, string>,
): { readonly text: string; readonly unset: readonly string[] } => {
  const unset: string[] = []
  const text = word.replaceAll(/\$\{([^}]*)\}/g, (_, name: string) => {
    const value = settings.get(name)
    if (value === undefined) unset.push(name)
    return value ?? ''
  })
  return { text, unset }
}

const readIpxe = (text: string): Handed[] => {
  const settings = new Map<string, string>()
  const found: Handed[] = []
  for (const { line, text: one } of ipxeLines(text))
    for (const words of ipxeCommands(one)) {
      const expanded = words.map(word => expandIpxe(word, settings))
      const [command = '', name = ''] = expanded.map(({ text }) => text)
      if (command === 'set')
        settings.set(
          name,
          expanded
            .slice(2)
            .map(({ text }) => text)
            .join(' '),
        )
      if (IPXE_LOADS.test(command)) found.push(ipxeHands(line, expanded))
    }
  return found.filter(({ cmdline }) => cmdline !== '')
}

/** Options of a command stand before the address. */
const ipxeHands = (
  line: number,
  words: readonly ReturnType<typeof expandIpxe>[],
): Handed => {
  const address = words.findIndex(
    ({ text }, i) =>
      i > 0 &&
      !text.startsWith('-') &&
      !/^(?:-n|--name|-t|--timeout)$/.test(words[i - 1]?.text ?? ''),
  )
  const handed = address < 0 ? [] : words.slice(address + 1)
  return {
    line,
    entry: undefined,
    cmdline: handed
      .map(({ text }) => text)
      .filter(Boolean)
      .join(' '),
    unknown: [],
    losses: handed.flatMap(({ unset }) =>
      unset.map(
        name =>
          `iPXE takes \${${name}} for a setting, of which nothing is known here`,
      ),
    ),
  }
}

export const ipxeForm: Form = {
  title: 'iPXE',
  place: "behind the address in a 'kernel' line of a script",
  refuses: ipxeRefuses,
  write: words => ({ ...nothingMore, text: words.join(' ') }),
  read: readIpxe,
  isLike: text => /^#![gi]pxe\s/.test(text),
}

/**
 * The last `append` of a label counts, and one that stands before all labels
 * where a label has none (readconfig.c of SYSLINUX).
 */
const readSyslinux = (text: string): Handed[] => {
  const found: Handed[] = []
  let label: string | undefined
  let common: Handed | undefined
  let own: Handed | undefined
  const end = (): void => {
    const one = own ?? common
    if (label !== undefined && one && one.cmdline !== '-')
      found.push({ ...one, entry: label })
  }
  for (const [i, line] of text.split('\n').entries()) {
    const [, key = '', value = ''] =
      /^\s*([A-Za-z]+)\s+(.*?)\s*$/.exec(line) ?? []
    if (/^label$/i.test(key)) {
      end()
      label = value
      own = undefined
    }
    if (!/^append$/i.test(key)) continue
    const before = label === undefined ? common : own
    const handed: Handed = {
      line: i + 1,
      entry: undefined,
      cmdline: value,
      unknown: [],
      losses: before
        ? [
            `SYSLINUX takes the last 'append' alone: line ${before.line} does not arrive`,
          ]
        : [],
    }
    if (label === undefined) common = handed
    else own = handed
  }
  end()
  return found
}

export const syslinuxForm: Form = {
  title: 'SYSLINUX, EXTLINUX, ISOLINUX, PXELINUX',
  place:
    'a label of syslinux.cfg, extlinux.conf or pxelinux.cfg; it has one append line',
  refuses: () => undefined,
  write: words => ({ ...nothingMore, text: `APPEND ${words.join(' ')}` }),
  read: readSyslinux,
  isLike: text => /^\s*append\s/im.test(text) && /^\s*label\s/im.test(text),
}

/** Text of an element of XML. */
const xmlText = (text: string): string =>
  text.replaceAll(/[&<>]/g, found => XML[found] ?? found)

const XML: Readonly<Partial<Record<string, string>>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
}

const readLibvirt = (text: string): Handed[] => {
  const found: Handed[] = []
  let name: string | undefined
  let from = 0
  xmlDocument(text).each(
    ({ node }) => {
      const content = (node.textContent ?? '').trim()
      if (node.nodeName === 'name') name ??= content
      if (node.nodeName !== 'cmdline') return
      const at = text.indexOf('<cmdline', from)
      from = at + 1
      found.push({
        line: lineAt(text, at),
        entry: name,
        cmdline: content,
        losses: [],
        unknown: [],
      })
    },
    true,
    true,
  )
  return found
}

/** No character of XML. */
const AMPERSAND = '\ufffe'

/**
 * xmlbuilder2 4.0.3 decodes names and then numbers: `&amp;#65;` becomes `A`. So it
 * does not see ampersands. They are put back into texts, nobody reads attributes.
 */
const DECODING_ONCE: ParserOptions = {
  sanitize: text => text.replaceAll('&amp;', AMPERSAND),
  text: (parent, text) => parent.txt(text.replaceAll(AMPERSAND, '&')),
  cdata: (parent, text) => parent.dat(text.replaceAll(AMPERSAND, '&amp;')),
}

const xmlDocument = (text: string) => {
  try {
    return create({ parser: DECODING_ONCE }, text)
  } catch (error) {
    throw new UsageError(
      'LIBVIRT_XML',
      `expected the XML of a domain (virsh dumpxml), found what is none: ${messageOf(error)}`,
    )
  }
}

export const libvirtForm: Form = {
  title: 'libvirt',
  place: 'inside <os> of a domain, beside <kernel> (virsh edit)',
  refuses: () => undefined,
  write: words => ({
    ...nothingMore,
    text: `<cmdline>${xmlText(words.join(' '))}</cmdline>`,
  }),
  read: readLibvirt,
  isLike: text => /^\s*</.test(text) && text.includes('<domain'),
}
