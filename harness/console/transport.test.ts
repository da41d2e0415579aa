import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { holds } from '../testing/property.ts'
import type { Facts } from './facts.ts'
import { ConsoleReader } from './reader.ts'

/** Whatever carried a log, what it says is the same. */

const FOLDER = join(projectRoot(), 'harness', 'console', 'golden')

const read = (text: string | Buffer, pasted = true): Facts[] => {
  const reader = new ConsoleReader({ pasted })
  reader.push(Buffer.from(text))
  reader.end()
  return reader.boots()
}

/** Facts without the places they were read from, and what counts lines. */
const said = (boots: readonly Facts[]): unknown =>
  JSON.parse(
    JSON.stringify(boots, (name, value: unknown) => {
      if (/^(?:line|lines|firstLine|lastLine|at|records|guest)$/.test(name))
        return undefined
      return typeof value === 'bigint' ? String(value) : value
    }),
  )

/** RFC 2045, section 6.7, with lines of at most 76 characters. */
const quotedPrintable = (text: string): string =>
  text
    .split('\n')
    .map(line => {
      const signs = Buffer.from(line)
        .toString('latin1')
        .split('')
        .map(sign =>
          /[=\u0080-\u00ff]/.test(sign)
            ? `=${sign.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
            : sign,
        )
      let width = 0
      return signs
        .map(sign => {
          width += sign.length
          if (width <= 75) return sign
          width = sign.length
          return `=\n${sign}`
        })
        .join('')
    })
    .join('\n')

const base64 = (text: string): string =>
  (
    Buffer.from(text)
      .toString('base64')
      .match(/.{1,76}/g) ?? []
  ).join('\n')

const html = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')

const STAMP = /^\[ *(\d+\.\d+)\] /

/** A record of each line, as journalctl gives it out. */
const entries = (
  text: string,
  form: (message: string, micros: number) => string,
): string =>
  text
    .split('\n')
    .filter(line => STAMP.test(line))
    .map(line =>
      form(
        line.replace(STAMP, ''),
        Math.round(Number(STAMP.exec(line)![1]) * 1e6),
      ),
    )
    .join('\n')

const stamped = (text: string): string =>
  text
    .split(/\r?\n/)
    .filter(line => STAMP.test(line))
    .join('\n')

const HEADER = 'Content-Type: text/plain; charset=utf-8\n'

const WRAPPINGS: Readonly<Record<string, (text: string) => string>> = {
  'quoted-printable': text =>
    `${HEADER}Content-Transfer-Encoding: quoted-printable\n\n${quotedPrintable(text)}`,
  'quoted-printable, quoted before': text =>
    `Content-Transfer-Encoding: quoted-printable\n\n${quotedPrintable(text.replaceAll(/^/gm, '> '))}`,
  'quoted-printable, quoted afterwards': text =>
    `Content-Transfer-Encoding: quoted-printable\n\n${quotedPrintable(text).replaceAll(/^/gm, '> ')}`,
  base64: text => `Content-Transfer-Encoding: base64\n\n${base64(text)}\n`,
  'a page': text => `<html><pre>\n${html(text)}\n</pre></html>`,
  'a page that was encoded twice': text => html(html(text)),
  'lines that are paragraphs': text =>
    text
      .split('\n')
      .map(line => `<p>${html(line)}</p>`)
      .join('\n'),
  'blanks that do not break': text => text.replaceAll(' ', '\u00a0'),
  'every other blank': text => text.replaceAll('  ', ' \u00a0'),
  'blanks of Latin-1 in UTF-8 twice': text =>
    text.replaceAll('  ', ' \u00c2\u00a0'),
  'a mark of the byte order': text => `\ufeff${text}`,
  'marks of a reply': text => text.replaceAll(/^/gm, '> > '),
  'a fence': text => `\`\`\`\n${text}\n\`\`\`\n`,
  'ends of DOS': text => text.replaceAll('\n', '\r\n'),
}

const goldens = readdirSync(FOLDER).map(name => {
  const text = readFileSync(join(FOLDER, name), 'utf8')
  const body = text.slice(text.indexOf('\n\n') + 2)
  // What init and the rig print has no stamp, and is theirs.
  return { name, body: stamped(body) }
})

for (const [wrapping, wrap] of Object.entries(WRAPPINGS))
  t.test(`a console in ${wrapping}`, async t => {
    t.plan(goldens.length)
    for (const { name, body } of goldens)
      t.same(said(read(wrap(body))), said(read(body, false)), name)
  })

t.test('entries of a journal', async t => {
  for (const { name, body } of goldens) {
    const plain = said(read(body, false))
    const json = entries(body, (message, micros) =>
      JSON.stringify({
        __CURSOR: 's=1',
        _TRANSPORT: 'kernel',
        MESSAGE: message,
        _SOURCE_MONOTONIC_TIMESTAMP: String(micros),
      }),
    )
    t.same(said(read(json)), plain, `${name}: -o json`)
    const exported = entries(
      body,
      (message, micros) =>
        `__CURSOR=s=1\n_TRANSPORT=kernel\nMESSAGE=${message}\n_SOURCE_MONOTONIC_TIMESTAMP=${micros}\n`,
    )
    t.same(said(read(exported)), plain, `${name}: -o export`)
    const dmesg = entries(
      body,
      (message, micros) =>
        `      },{\n         "pri": 6,\n         "time": ${(micros / 1e6).toFixed(6).padStart(13)},\n         "msg": ${JSON.stringify(message)}`,
    )
    t.same(said(read(dmesg)), plain, `${name}: dmesg --json`)
  }
})

/** `dmesg --json --file` of util-linux 2.38: a message and all that follow it. */
const withTheRest = (lines: readonly string[]): string =>
  lines
    .map((line, i) => {
      const [, time, text] = /^\[ *([\d.]+)\] (.*)$/s.exec(line)!
      const rest = lines.slice(i + 1).map(other => `<6>${other}`)
      const message = JSON.stringify([text, ...rest, ''].join('\n'))
      return `      },{\n         "pri": 6,\n         "time": ${time!.padStart(13)},\n         "msg": ${message}\n`
    })
    .join('')

t.test('dmesg --json --file', async t => {
  for (const { name, body } of goldens) {
    const lines = body
      .split(/\r?\n/)
      .filter(line => /^\[ *\d+\.\d{6}\] /.test(line))
    const plain = said(read(lines.join('\n')))
    t.same(said(read(withTheRest(lines))), plain, `${name}: with levels`)
    const few = lines.slice(0, 60)
    const once = `{\n   "dmesg": [\n      {\n         "time":     0.000000,\n         "msg": ${JSON.stringify(few.join('\n').replace(/^\[ *[\d.]+\] /, ''))}\n      }\n   ]\n}\n`
    t.same(said(read(once)), said(read(few.join('\n'))), `${name}: without`)
  }
})

t.test('lines keep their numbers', async t => {
  const [first] = read(
    [
      'Content-Transfer-Encoding: quoted-printable',
      '',
      '[    0.000000] Linux version 6.12.10 (b@example) (gcc 12) #1 SMP',
      '[    0.000000] Command line: root=3D/dev/sda1 ro memmap=3D1G!4G numa=3Dfak=',
      'e=3D2',
      '[    1.000000] virt/tdx: module initialized',
    ].join('\n'),
  )
  t.equal(first?.cmdline, 'root=/dev/sda1 ro memmap=1G!4G numa=fake=2')
  t.equal(first?.at.cmdline, 4)
  t.equal(first?.tdx.at.message, 6)
})

t.test('without a header the text says how it is encoded', async t => {
  for (const { name, body } of goldens.filter(({ body }) =>
    body.includes('ommand line: '),
  ))
    t.same(
      said(read(quotedPrintable(body))),
      said(read(body, false)),
      `${name}: every = is escaped`,
    )
  const plain =
    '[    0.000000] Command line: a=3D b=2 c=x\n[    1.000000] =====\n'
  t.equal(read(plain)[0]?.cmdline, 'a=3D b=2 c=x')
})

t.test('a live console is taken as it is', async t => {
  const text = 'Content-Transfer-Encoding: base64\n\nTGludXggdmVyc2lvbiA2LjEK\n'
  t.equal(read(text, false)[0]?.kernel, null)
  t.equal(read(text)[0]?.kernel, '6.1')
})

/** Abbreviations of months in locales of glibc 2.36 (abmon). */
const MONTHS = [
  ['Sep', 'Mär', 'févr.', 'marras', 'lis', 'ноя', 'Νοε', 'ספט', 'ก.ย.'],
  ['11月', ' 1月', '11월', 'ستمبر', 'Thg 11', 'كانون الثاني', 'de gen.'],
  ['1-р сар', 'lî wainhka kati', 'ཟླ་༡༡', '១១', 'সেপ্টেম্বর', 'apr  ', 'S-Ɔ'],
].flat()

t.test('months in any language', async t => {
  t.plan(2 * MONTHS.length)
  for (const month of MONTHS) {
    const at = `${month} 06 16:39:14 host1`
    const [facts] = read(
      [
        `${at} kernel: Linux version 6.18.2 (b@example) (gcc 15) #1 SMP`,
        `${at} kernel: virt/tdx: TDX not supported by the host platform`,
        `${at} systemd[1]: virt/tdx: module initialized`,
      ].join('\n'),
      false,
    )
    t.match(facts, { kernel: '6.18.2', tdx: { outcome: 'not-enabled' } }, month)
    const [dated] = read(
      `[Mo ${month}  6 16:39:14 2026] Linux version 6.18.2 (b@example)\n`,
      false,
    )
    t.equal(dated?.kernel, '6.18.2', `dmesg -T, ${month}`)
  }
})

t.test('any text, pasted: never a throw, and no more lines', async t => {
  const part = fc.constantFrom(
    'Content-Transfer-Encoding: quoted-printable\n',
    'Content-Transfer-Encoding: base64\n',
    '=3D=\n',
    '=\n',
    '&lt;&amp;lt;&#0;&#xd800;\n',
    '<br><p>[    0.0] x</p>',
    '{"MESSAGE":"a\\"b","_TRANSPORT":"kernel"}\n',
    '{"MESSAGE":\n',
    '__CURSOR=\n',
    'MESSAGE=a\n',
    '\n',
    '         "time":   1.0,\n         "msg": "a\\u0000"\n',
    '> [    0.000000] Linux version 6.1\n',
    '\u00a0\u00c2\ufeff',
    'VGVzdAo=\n',
  )
  holds(
    t,
    'no throw',
    fc.property(
      fc.array(fc.oneof(part, fc.string({ unit: 'binary' })), {
        maxLength: 30,
      }),
      parts => {
        const reader = new ConsoleReader({ pasted: true })
        const text = parts.join('')
        reader.push(Buffer.from(text))
        reader.end()
        const boots = reader.boots()
        return boots.every(
          ({ lastLine }) => lastLine <= text.split('\n').length,
        )
      },
    ),
    2_000,
  )
})
