import {
  type ArgumentNode,
  type CommandNode,
  type OptionNode,
  type Values,
  flattened,
} from '../command-tree.ts'
import { type Completed, pathsFor, wordsFor } from './script.ts'

/** A completion script for zsh: to be sourced, or put into $fpath as _tdxrig. */
export const zshCompletion = ({ root, kernels }: Completed): string =>
  `#compdef tdxrig
# zsh completion for tdxrig; load it after compinit, with:
#   source <(tdxrig completion zsh)

${flattened(root)
  .toReversed()
  .map(node => functionFor(node, kernels))
  .join('\n')}
if [[ $funcstack[1] == _tdxrig ]]; then
  _tdxrig "$@"
else
  compdef _tdxrig tdxrig
fi
`

const functionName = ({ words }: CommandNode): string =>
  ['_tdxrig', ...words].join('_')

const functionFor = (node: CommandNode, kernels: readonly string[]): string => {
  const specs = [
    ...node.options.map(option => optionSpec(option, kernels)),
    ...node.arguments.map((argument, i) => argumentSpec(argument, i, kernels)),
  ]
  return node.commands.length > 0
    ? groupFunction(node, specs)
    : `${functionName(node)}() {
  _arguments -S \\
    ${specs.join(' \\\n    ')}
}
`
}

const groupFunction = (node: CommandNode, specs: readonly string[]): string => {
  const named = node.commands.map(child => ({
    child,
    word: child.words.at(-1) ?? '',
  }))
  return `${functionName(node)}() {
  local curcontext=$curcontext state line
  local -A opt_args
  local -a commands=(
    ${named
      .map(
        ({ child, word }) => `'${word}:${quoted(escaped(child.description))}'`,
      )
      .join('\n    ')}
  )
  _arguments -C -S \\
    ${specs.join(' \\\n    ')} \\
    '1: :->command' '*:: :->rest' && return
  case $state in
    command) _describe -t commands command commands ;;
    rest)
      case $words[1] in
        ${named
          .map(({ child, word }) => `${word}) ${functionName(child)} ;;`)
          .join('\n        ')}
      esac
      ;;
  esac
}
`
}

const optionSpec = (
  {
    short,
    long,
    value,
    description,
    isOptional,
    isRepeatable,
    values,
  }: OptionNode,
  kernels: readonly string[],
): string => {
  const explained = quoted(`[${escaped(description)}]`)
  if (value === undefined)
    return short === undefined
      ? `'${long}${explained}'`
      : `'(${short} ${long})'{${short},${long}}'${explained}'`
  const name = quoted(escaped(value.replaceAll(/[<>[\]]/g, '')))
  return `'${isRepeatable ? '*' : ''}${long}=${explained}${isOptional ? '::' : ':'}${name}:${action(values, kernels)}'`
}

const argumentSpec = (
  { term, isVariadic, values }: ArgumentNode,
  place: number,
  kernels: readonly string[],
): string => {
  const name = quoted(escaped(term.replaceAll(/[<>[\].]/g, '')))
  return `'${isVariadic ? '*' : place + 1}:${name}:${action(values, kernels)}'`
}

/** What completes a value; a space: nothing does. */
const action = (values: Values, kernels: readonly string[]): string => {
  const words = wordsFor(values, kernels)
  const paths = pathsFor(values)
  if (words && paths) return `{ _values recipe ${words.join(' ')}; _files }`
  if (words) return `(${words.join(' ')})`
  if (paths === undefined) return ' '
  return paths === 'files' ? '_files' : '_files -/'
}

/** For _arguments and _describe, which have marks of their own. */
const escaped = (text: string): string =>
  text.replaceAll(/[\\[\]:]/g, character => `\\${character}`)

/** Within single quotes. */
const quoted = (text: string): string => text.replaceAll("'", `'\\''`)
