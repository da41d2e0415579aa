import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { execa } from 'execa'
import tmp from 'tmp'
import { InfraError, UsageError, messageOf } from '../base/errors.ts'
import { findProgram } from '../base/paths.ts'
import { formatSize } from '../base/units.ts'

/** One patch of a series. */
export interface Patch {
  /** What to call it: its file, or its subject. */
  readonly name: string
  /** The file it comes from. */
  readonly path: string
  /** The patch byte by byte: not all source is UTF-8. */
  readonly content: Buffer
}

/**
 * The patches of a file, in the order to apply them: the file itself, or what a
 * mailing list delivered, cover letter and replies included, perhaps gzipped.
 *
 * @throws UsageError when the series in an mbox is not complete
 */
export const readPatches = async (path: string): Promise<Patch[]> => {
  const info = await stat(path)
  if (!info.isFile())
    throw new UsageError(
      'PATCH_SERIES',
      'expected a file with patches, found something else',
    )
  const bytes = await readFile(path)
  const plain = isGzip(bytes) ? unzip(bytes) : bytes
  return /\.mbo?x(?:\.gz)?$/.test(path) || isMailbox(plain)
    ? ordered(path, await mailsOf(path, plain))
    : [{ name: basename(path), path, content: patchOf(plain) }]
}

/** More than any series; a bomb must not fill memory. */
const MAX_SERIES = 256 * 1024 * 1024

const unzip = (bytes: Buffer): Buffer => {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_SERIES })
  } catch (error) {
    throw new UsageError(
      'PATCH_SERIES',
      `expected a gzipped mbox of ${formatSize(MAX_SERIES)} at most: ${messageOf(error)}`,
      { cause: error },
    )
  }
}

/** @throws UsageError when nothing in it can be applied */
const patchOf = (bytes: Buffer): Buffer => {
  if (/^(?:---|diff|Index:|\*\*\*) /m.test(bytes.toString('latin1')))
    return bytes
  throw new UsageError('PATCH_SERIES', 'expected a patch, found no diff in it')
}

/** As archives deliver it: lore.kernel.org gives t.mbox.gz. */
const isGzip = (bytes: Buffer): boolean =>
  bytes[0] === 0x1f && bytes[1] === 0x8b

/**
 * Several mails, or one that is encoded. What `git format-patch` writes is a
 * mail as well, and can be applied as it is.
 */
const isMailbox = (bytes: Buffer): boolean => {
  const text = bytes.toString('latin1')
  const mails = text.match(/^From \S+ .*\d{4}\s*$/gm)?.length ?? 0
  const [headers = ''] = text.split('\n\n', 1)
  const encoded =
    /^Content-Transfer-Encoding: *(?:base64|quoted-printable)/im.test(headers)
  return mails > 1 || encoded || /^Content-Type: *multipart\//im.test(headers)
}

/** A mail as git understands it. */
interface Mail {
  readonly subject: string
  /** The part that can be applied; empty when there is none. */
  readonly patch: Buffer
}

/** git knows all ways in which patches are mailed: MIME, encodings, charsets. */
const mailsOf = async (path: string, bytes: Buffer): Promise<Mail[]> => {
  if ((await findProgram('git')) === undefined)
    throw new InfraError(
      'NO_GIT',
      `expected git in PATH to take ${path} apart, found none: apt-get install git`,
    )
  const { name: folder, removeCallback } = tmp.dirSync({
    prefix: 'tdxrig',
    unsafeCleanup: true,
  })
  try {
    const split = join(folder, 'mails')
    const mailbox = join(folder, 'mailbox')
    await mkdir(split)
    await writeFile(mailbox, bytes)
    await execa('git', ['mailsplit', '-b', `-o${split}`, '--', mailbox])
    const mails: Mail[] = []
    for (const name of (await readdir(split)).sort())
      mails.push(await mailOf(folder, await readFile(join(split, name))))
    return mails
  } finally {
    removeCallback()
  }
}

const mailOf = async (folder: string, mail: Buffer): Promise<Mail> => {
  const message = join(folder, 'message')
  const patch = join(folder, 'patch')
  await writeFile(patch, '')
  // -k: keep the subject as it is, with its number.
  const { stdout } = await execa(
    'git',
    ['mailinfo', '-k', '--encoding=UTF-8', message, patch],
    { input: mail, reject: false },
  )
  return {
    subject: /^Subject: (.*)$/m.exec(stdout)?.[1] ?? '',
    patch: await readFile(patch),
  }
}

/** `[PATCH v6 04/21] x86/virt/tdx: ...`: number and length of the series. */
const numberOf = (subject: string): [number, number] | undefined => {
  const match = /\[[^\]]*?(\d+)\/(\d+)[^\]]*\]/.exec(subject)
  return match ? [Number(match[1]), Number(match[2])] : undefined
}

/** Answers, and what robots say about patches that were taken. */
const isReply = ({ subject }: Mail): boolean =>
  /^(?:re|aw|fwd?):|^\[tip:/i.test(subject)

const ordered = (path: string, mails: readonly Mail[]): Patch[] => {
  const patches = mails.filter(mail => mail.patch.length > 0 && !isReply(mail))
  const wrong = (message: string): UsageError =>
    new UsageError('PATCH_SERIES', message)
  if (patches.length === 0)
    throw wrong(
      `expected at least one mail with a patch, found ${mails.length} mails without`,
    )
  const total = Math.max(
    0,
    ...patches.map(({ subject }) => numberOf(subject)?.[1] ?? 0),
  )
  const named = patches.map(({ subject, patch }) => ({
    name: subject,
    path,
    content: patch,
    number: numberOf(subject)?.[0],
  }))
  if (total === 0) return named
  const unknown = named.find(({ number }) => number === undefined)
  if (unknown)
    throw wrong(
      `'${unknown.name}' has no number, the others are a series of ${total}: take it out, or give it as a file of its own`,
    )
  return Array.from({ length: total }, (_, i) => {
    const found = named.filter(({ number }) => number === i + 1)
    if (found.length === 0) throw wrong(`patch ${i + 1} of ${total} is missing`)
    if (found.length > 1)
      throw wrong(
        `there are ${found.length} patches ${i + 1} of ${total}: ${found.map(({ name }) => `'${name}'`).join(', ')}; keep one version of the series`,
      )
    return found[0]!
  })
}
