import { type Form, type Handed, nothingMore } from './form.ts'
import { grubLine, grubRefuses, grubWords } from './grub.ts'
import { type Command, SHELL, commandsOf, shellTakes } from './script.ts'

/**
 * /etc/default/grub is sourced by a shell (grub-mkconfig), and the variables
 * are put into grub.cfg as they then are (/etc/grub.d/10_linux), where GRUB
 * takes them apart once more.
 */

const VARIABLE = /^(GRUB_CMDLINE_LINUX(?:_DEFAULT|_RECOVERY)?)=(.*)$/s

/** Within double quotes of a shell. */
const shellText = (text: string): string =>
  text.replaceAll(/[$`"\\]/g, String.raw`\$&`)

/** Only a word that stands first is an assignment, or those before a command. */
const assignmentsOf = ({ words }: Command) =>
  words.flatMap(({ text, unset }) => {
    const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(text) ?? []
    return name === undefined || value === undefined
      ? []
      : [{ name, value, unset }]
  })

const readDefault = (script: string): Handed[] => {
  const variables = new Map<string, string>()
  const found = new Map<string, Handed>()
  for (const command of commandsOf(script, SHELL, name => variables.get(name)))
    for (const { name, value, unset } of assignmentsOf(command)) {
      variables.set(name, value)
      if (VARIABLE.test(`${name}=`))
        found.set(name, {
          line: command.line,
          entry: name,
          ...handedBy(value, unset, name),
        })
    }
  return [...found.values()]
}

const handedBy = (
  value: string,
  unset: readonly string[],
  own: string,
): Pick<Handed, 'cmdline' | 'losses' | 'unknown'> => {
  const { losses, ...handed } = grubLine(value)
  return {
    ...handed,
    losses: [
      // Appended to what another file has set.
      ...unset
        .filter(name => name !== own)
        .map(name => `the shell that reads this file ${shellTakes(name)}`),
      ...losses,
    ],
  }
}

export const grubDefaultForm: Form = {
  title: 'GRUB 2, for all entries that grub-mkconfig makes',
  place:
    'a file /etc/default/grub.d/NAME.cfg (Debian, Ubuntu), or the end of /etc/default/grub',
  refuses: grubRefuses,
  write: words => ({
    ...nothingMore,
    text: `GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX ${shellText(grubWords(words))}"`,
    after:
      'update-grub, or grub2-mkconfig -o /boot/grub2/grub.cfg; where entries are files of /boot/loader/entries, use bls or grubby',
  }),
  read: readDefault,
  isLike: text => /^\s*GRUB_CMDLINE_LINUX/m.test(text),
}
