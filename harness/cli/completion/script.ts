import { type CommandNode, type Values, flattened } from '../command-tree.ts'

/**
 * What the generators of all shells build a script from. The scripts know every
 * word by themselves: nothing is started while somebody types.
 */
export interface Completed {
  readonly root: CommandNode
  /** Recipes, for --kernel and the like. */
  readonly kernels: readonly string[]
}

/** Names that mean something to a shell are not completed. */
const PLAIN = /^[\w@%+.,/-]+$/

/** Words that can stand for a value; undefined: it has none of its own. */
export const wordsFor = (
  values: Values,
  kernels: readonly string[],
): readonly string[] | undefined => {
  switch (values.kind) {
    case 'words':
      return values.words.filter(word => PLAIN.test(word))
    case 'kernels':
      return [
        ...kernels.filter(name => PLAIN.test(name)),
        ...(values.all ? ['all'] : []),
      ]
    case 'files':
    case 'folders':
    case 'text':
      return undefined
  }
}

/** Whether names in the file system are completed, and which. */
export const pathsFor = (values: Values): 'files' | 'folders' | undefined => {
  switch (values.kind) {
    case 'files':
    case 'folders':
      return values.kind
    case 'kernels':
      return values.files ? 'files' : undefined
    case 'words':
    case 'text':
      return undefined
  }
}

/** `history list`; nothing for the program itself. */
export const nameOf = ({ words }: CommandNode): string => words.join(' ')

/** An option of a command: `run --kernel`. */
interface ValuedOption {
  readonly key: string
  readonly values: Values
  readonly isOptional: boolean
}

/** Every way to write an option of a command that takes a value. */
export const valuedOptions = (root: CommandNode): ValuedOption[] =>
  flattened(root).flatMap(node =>
    node.options.flatMap(({ short, long, value, values, isOptional }) =>
      value === undefined
        ? []
        : [...(short === undefined ? [] : [short]), long].map(flag => ({
            key: `${nameOf(node)} ${flag}`,
            values,
            isOptional,
          })),
    ),
  )
