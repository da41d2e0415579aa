import { type CommandNode, type Values, flattened } from '../command-tree.ts'
import {
  type Completed,
  nameOf,
  pathsFor,
  valuedOptions,
  wordsFor,
} from './script.ts'

/** A completion script for bash 4.4 or later; it needs no bash-completion. */
export const bashCompletion = ({ root, kernels }: Completed): string => {
  const nodes = flattened(root)
  const set = (values: Values): string => {
    const words = wordsFor(values, kernels)
    const paths = pathsFor(values)
    const set = [
      ...(words ? [`list='${words.join(' ')}'`] : []),
      ...(paths === undefined ? [] : [`paths=${paths}`]),
    ]
    return set.join(' ') || ':'
  }
  const groups = nodes.filter(({ commands }) => commands.length > 0)
  return `# bash completion for tdxrig; load it with:
#   source <(tdxrig completion bash)

${table(
  'commands',
  groups.map(node => [
    `'${nameOf(node)}'`,
    `list='${node.commands.map(({ words }) => words.at(-1)).join(' ')}'`,
  ]),
)}
${table(
  'options',
  nodes.map(node => [`'${nameOf(node)}'`, `list='${flags(node).join(' ')}'`]),
)}
${table(
  'value',
  valuedOptions(root).map(({ key, values, isOptional }) => [
    `'${key}'`,
    isOptional ? `${set(values)} optional=1` : set(values),
  ]),
)}
${table(
  'argument',
  nodes.flatMap(node =>
    node.arguments.map(({ isVariadic, values }, place) => [
      isVariadic ? `'${nameOf(node)} '*` : `'${nameOf(node)} ${place}'`,
      set(values),
    ]),
  ),
)}
${WALK}`
}

const flags = ({ options }: CommandNode): string[] =>
  options.flatMap(({ short, long }) =>
    short === undefined ? [long] : [short, long],
  )

/** A function that sets what there is for a key, or fails. */
const table = (
  name: string,
  rows: readonly (readonly [string, string])[],
): string =>
  [
    `_tdxrig_${name}() {`,
    '  case $1 in',
    ...rows.map(([key, action]) => `    ${key}) ${action} ;;`),
    '    *) return 1 ;;',
    '  esac',
    '}',
    '',
  ].join('\n')

const WALK = `# Follows the words up to the one that is completed.
_tdxrig() {
  local cur=\${COMP_WORDS[COMP_CWORD]} at='' option='' rest='' prefix='' place=0
  local word i list='' paths='' optional=''
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ $option && ! ($optional && $word == -?*) ]]; then
      # Bash splits words at '=': the value comes next.
      [[ $word == '=' && \${COMP_WORDS[i - 1]} == "$option" ]] || option=''
    elif [[ $rest || $word != -?* ]]; then
      if [[ ! $rest ]] && _tdxrig_commands "$at" && [[ " $list " == *" $word "* ]]; then
        at=\${at:+$at }$word
      else
        place=$((place + 1))
      fi
    elif [[ $word == -- ]]; then
      rest=1 option=''
    else
      option='' optional=''
      if _tdxrig_value "$at $word"; then option=$word; fi
    fi
  done
  if [[ $option && $cur == '=' ]]; then
    cur=''
  elif [[ ! $option && ! $rest && $cur == --*=* ]]; then
    # COMP_WORDBREAKS without '='.
    option=\${cur%%=*} prefix=\${cur%%=*}= cur=\${cur#*=}
  fi
  [[ ! $optional || $cur != -* ]] || option=''
  list='' paths=''
  if [[ $option ]]; then
    _tdxrig_value "$at $option"
  elif [[ ! $rest && $cur == -* ]]; then
    _tdxrig_options "$at"
  elif ! _tdxrig_argument "$at $place"; then
    if [[ $rest ]]; then
      return
    elif ((place > 0)) || ! _tdxrig_commands "$at"; then
      # There is nothing left but options.
      _tdxrig_options "$at"
    fi
  fi
  [[ ! $list ]] || mapfile -t COMPREPLY < <(compgen -W "$list" -P "$prefix" -- "$cur")
  case $paths in
    files)
      compopt -o filenames -o default 2>/dev/null
      mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -P "$prefix" -- "$cur")
      ;;
    folders)
      compopt -o filenames -o dirnames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -P "$prefix" -- "$cur")
      ;;
  esac
}

complete -F _tdxrig tdxrig
`
