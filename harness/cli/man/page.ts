import {
  type ArgumentNode,
  type CommandNode,
  type OptionNode,
  flattened,
} from '../command-tree.ts'
import { EXIT_STATUS } from '../exit-code.ts'
import {
  bold,
  example,
  italic,
  item,
  prose,
  roffText,
  section,
  subsection,
} from './roff.ts'

/** What is said of the program that no command says of itself. */
const ENVIRONMENT: readonly (readonly [string, string])[] = [
  [
    'TDXRIG_HISTORY',
    'The history of runs: a folder, or postgres://... Default: $XDG_DATA_HOME/tdxrig/history.',
  ],
  [
    'XDG_CACHE_HOME',
    'Below it is what is built and found out: kernels, sources, whether KVM works. Default: ~/.cache.',
  ],
  [
    'XDG_CONFIG_HOME',
    'Below it is the inventory of hosts. Default: ~/.config.',
  ],
  [
    'XDG_DATA_HOME',
    'Below it is the history of runs. Default: ~/.local/share.',
  ],
  ['NO_COLOR', 'When it is set, nothing is coloured.'],
  [
    'GITHUB_STEP_SUMMARY',
    'The file that --reporter github adds a summary to; GitHub Actions sets it.',
  ],
]

const FILES: readonly (readonly [string, string])[] = [
  ['~/.config/tdxrig/hosts.yaml', 'The inventory of physical hosts.'],
  ['~/.cache/tdxrig/kernels', 'Kernels that were built.'],
  ['~/.local/share/tdxrig/history', 'The history of runs.'],
  [
    'results/latest',
    'In the current folder: the newest run, with result.json and a console for each case.',
  ],
]

const EXAMPLES: readonly (readonly [string, readonly string[]])[] = [
  ['What of this machine can be used:', ['tdxrig doctor']],
  ['Boot the scenarios that ship:', ['tdxrig run']],
  [
    'Boot one of them on a kernel that is built already:',
    ['tdxrig run scenarios/plain --kernel-build ~/linux'],
  ],
  ['Explain a log:', ['dmesg | tdxrig explain -']],
  [
    'Boot the machine of a log, and make the scenario small:',
    ['tdxrig replay dmesg.txt --run', 'tdxrig minimise dmesg.yaml'],
  ],
]

const SEE_ALSO: readonly (readonly [string, number])[] = [
  ['dmesg', 1],
  ['qemu-system-x86_64', 1],
  ['ssh', 1],
]

/**
 * The manual page tdxrig(1).
 *
 * @param version of the program
 */
export const manualPage = (root: CommandNode, version: string): string => {
  const commands = flattened(root).filter(
    ({ words, commands }) => words.length > 0 && commands.length === 0,
  )
  return [
    '.\\" Made by: tdxrig man',
    `.TH TDXRIG 1 "" "${roffText(`tdxrig ${version}`)}" "${roffText('User Commands')}"`,
    section('NAME'),
    `tdxrig \\- ${prose(firstLower(root.description.replace(/\.$/, '')))}`,
    section('SYNOPSIS'),
    ...commands.flatMap((node, i) => [
      ...(i > 0 ? ['.br'] : []),
      synopsis(node),
    ]),
    section('DESCRIPTION'),
    prose(root.description),
    ...root.options.map(option),
    section('COMMANDS'),
    ...flattened(root).slice(1).flatMap(command),
    section('EXIT STATUS'),
    ...EXIT_STATUS.map(([code, meaning]) =>
      item(bold(String(code)), sentence(meaning)),
    ),
    section('ENVIRONMENT'),
    ...ENVIRONMENT.map(([name, text]) => item(bold(name), text)),
    section('FILES'),
    ...FILES.map(([path, text]) => item(italic(path), text)),
    section('EXAMPLES'),
    ...EXAMPLES.flatMap(([title, lines], i) => [
      ...(i > 0 ? ['.PP'] : []),
      prose(title),
      example(lines),
    ]),
    section('SEE ALSO'),
    SEE_ALSO.map(([name, part]) => `${bold(name)}(${part})`).join(',\n'),
    '',
  ].join('\n')
}

const synopsis = ({ words, arguments: all }: CommandNode): string =>
  [
    bold(['tdxrig', ...words].join(' ')),
    roffText('[options]'),
    ...all.map(({ term }) => italic(term)),
  ].join(' ')

const command = (node: CommandNode): string[] => [
  subsection(['tdxrig', ...node.words].join(' ')),
  prose(sentence(node.description)),
  ...(node.commands.length > 0 ? [] : ['.PP', synopsis(node)]),
  ...node.arguments.map(argument),
  ...node.options.filter(({ long }) => long !== '--help').map(option),
]

const argument = ({ term, description }: ArgumentNode): string =>
  item(italic(term), sentence(description))

const option = ({ short, long, value, description }: OptionNode): string => {
  const flags = [...(short === undefined ? [] : [short]), long].map(bold)
  const taken = value === undefined ? '' : ` ${italic(value)}`
  return item(`${flags.join(', ')}${taken}`, sentence(description))
}

/** Descriptions are written for --help. */
const sentence = (text: string): string =>
  text === ''
    ? 'See above.'
    : `${text.charAt(0).toUpperCase()}${text.slice(1)}.`

const firstLower = (text: string): string =>
  `${text.charAt(0).toLowerCase()}${text.slice(1)}`
