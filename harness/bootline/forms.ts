import { UsageError } from '../base/errors.ts'
import { COMMAND_LINE_SIZE } from '../memory/cmdline.ts'
import { blsForm, grubbyForm, isEntry, systemdBootForm } from './bls.ts'
import { FORM_NAMES, type Form, type FormName, type Written } from './form.ts'
import { grubDefaultForm } from './grub-default.ts'
import { grubForm } from './grub.ts'
import {
  ipxeForm,
  kexecForm,
  libvirtForm,
  qemuForm,
  syslinuxForm,
} from './plain.ts'

export const FORMS: Readonly<Record<FormName, Form>> = {
  grub: grubForm,
  'grub-default': grubDefaultForm,
  grubby: grubbyForm,
  bls: blsForm,
  'systemd-boot': systemdBootForm,
  kexec: kexecForm,
  qemu: qemuForm,
  libvirt: libvirtForm,
  ipxe: ipxeForm,
  syslinux: syslinuxForm,
}

/** More than one where entries look the same for two loaders. */
export const formsLike = (text: string): FormName[] => {
  const like = FORM_NAMES.filter(
    // A line of an entry looks like one of a script.
    name => FORMS[name].isLike(text) && !(name === 'grub' && isEntry(text)),
  )
  return like.length > 0 && !like.includes('bls') ? like.slice(0, 1) : like
}

/**
 * Words that a loader does not hand on get another writing of the same, where
 * there is one.
 *
 * @param words of a kernel's command line, in their order
 * @throws UsageError for words that the form cannot hand on
 */
export const writeLine = (
  name: FormName,
  words: readonly string[],
): Written => {
  const form = FORMS[name]
  for (const word of words) {
    const why = controlsIn(word) ?? form.refuses(word)
    if (why !== undefined)
      throw new UsageError(
        'BOOTLINE',
        `${name}: '${word}' does not arrive as it is: ${why}`,
      )
  }
  const length = Buffer.byteLength(words.join(' '))
  if (length >= COMMAND_LINE_SIZE)
    throw new UsageError(
      'BOOTLINE',
      `expected at most ${COMMAND_LINE_SIZE - 1} bytes of parameters, found ${length}: the kernel cuts off what is behind`,
    )
  return form.write(words)
}

const controlsIn = (word: string): string | undefined =>
  /[\p{Cc}]/u.test(word.replaceAll('\t', ''))
    ? 'it holds a line feed or another control character'
    : undefined
