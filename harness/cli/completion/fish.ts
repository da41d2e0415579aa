import {
  type CommandNode,
  type OptionNode,
  type Values,
  flattened,
} from '../command-tree.ts'
import {
  type Completed,
  nameOf,
  pathsFor,
  valuedOptions,
  wordsFor,
} from './script.ts'

/** A completion script for fish 3 or later. */
export const fishCompletion = ({ root, kernels }: Completed): string => {
  const nodes = flattened(root)
  const valued = valuedOptions(root)
  const keys = valued.map(({ key }) => quoted(key))
  const optional = valued.filter(({ isOptional }) => isOptional)
  const names = nodes.slice(1).map(node => quoted(nameOf(node)))
  return `# fish completion for tdxrig; load it with:
#   tdxrig completion fish | source

set -g __tdxrig_valued ${keys.join(' ')}
set -g __tdxrig_optional ${optional.map(({ key }) => quoted(key)).join(' ')}
set -g __tdxrig_commands ${names.join(' ')}

${WALK}
complete -c tdxrig -f
${nodes.flatMap(node => linesFor(node, kernels)).join('\n')}
`
}

/** Commands, arguments and options of a command, a line each. */
const linesFor = (node: CommandNode, kernels: readonly string[]): string[] => {
  const when = (...more: readonly (string | number)[]): string =>
    quoted(['__tdxrig_is', quoted(nameOf(node)), ...more].join(' '))
  return [
    ...node.commands.map(child =>
      line(
        when(0),
        `-a ${child.words.at(-1) ?? ''}`,
        `-d ${quoted(child.description)}`,
      ),
    ),
    ...node.arguments.map(({ isVariadic, values }, place) =>
      line(
        when(place, ...(isVariadic ? ['more'] : [])),
        source(values, kernels),
      ),
    ),
    ...node.options.map(option =>
      line(
        when(),
        optionWords(option),
        option.value === undefined
          ? ''
          : `-r ${source(option.values, kernels)}`,
        `-d ${quoted(option.description)}`,
      ),
    ),
  ]
}

const line = (condition: string, ...parts: readonly string[]): string =>
  ['complete -c tdxrig -n', condition, ...parts.filter(Boolean)].join(' ')

const optionWords = ({ short, long }: OptionNode): string =>
  [
    ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
    `-l ${long.slice(2)}`,
  ].join(' ')

/** Where the words for a value come from; names of files, or none. */
const source = (values: Values, kernels: readonly string[]): string => {
  const words = wordsFor(values, kernels)
  const paths = pathsFor(values)
  const list = words ? ` -a ${quoted(words.join(' '))}` : ''
  if (paths === 'folders') return "-f -a '(__fish_complete_directories)'"
  return `${paths === 'files' ? '-F' : '-f'}${list}`
}

/** In single quotes fish knows two escapes. */
const quoted = (text: string): string =>
  `'${text.replaceAll(/[\\']/g, character => `\\${character}`)}'`

const WALK = `# Prints the command, and how many arguments it was given.
function __tdxrig_state
    set -l at
    set -l place 0
    set -l takes no
    set -l rest no
    for word in (commandline -opc)[2..]
        if test $takes = optional; and string match -q -- '-?*' $word
            set takes no
        end
        if test $takes != no
            set takes no
        else if test $rest = yes
            set place (math $place + 1)
        else if test "$word" = --
            set rest yes
        else if string match -q -- '-?*' $word
            contains -- "$at $word" $__tdxrig_valued
            and set takes yes
            contains -- "$at $word" $__tdxrig_optional
            and set takes optional
        else if contains -- (string join ' ' $at $word) $__tdxrig_commands
            set at $at $word
        else
            set place (math $place + 1)
        end
    end
    echo (string join ' ' $at)
    echo $place
end

# Arguments: a command, and the place of an argument, or of the first of many.
function __tdxrig_is
    set -l state (__tdxrig_state)
    test "$argv[1]" = "$state[1]"; or return
    set -q argv[2]; or return 0
    if set -q argv[3]
        test $state[2] -ge $argv[2]
    else
        test $state[2] -eq $argv[2]
    end
end
`
