import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { UsageError } from '../base/errors.ts'
import { parseCmdline } from '../memory/cmdline.ts'
import { holds } from '../testing/property.ts'
import { arrivalsIn } from './arrival.ts'
import { expandBls } from './bls.ts'
import { FORM_NAMES, type FormName } from './form.ts'
import { FORMS, formsLike, writeLine } from './forms.ts'
import { grubWord } from './grub.ts'
import { GRUB, SHELL, commandsOf } from './script.ts'

const wordsOf = (script: string, dialect = SHELL) =>
  [...commandsOf(script, dialect, name => (name === 'v' ? 'x y' : undefined))]
    .map(({ words }) => words.map(({ text }) => text))
    .filter(words => words.length > 0)

t.test('words of a shell', async t => {
  for (const [script, words] of [
    [String.raw`A="m=3G\\\$0x1"`, [[String.raw`A=m=3G\$0x1`]]],
    [String.raw`A=m=3G\$0x1 b`, [['A=m=3G$0x1', 'b']]],
    [`A='m=3G$0x1'"b"c`, [['A=m=3G$0x1bc']]],
    ['A=$v b=$v', [['A=x y', 'b=x y']]],
    ['a "$v" $v', [['a', 'x y', 'x', 'y']]],
    ['a # b\nc;d', [['a'], ['c'], ['d']]],
    ['a \\\nb "c\\\nd"', [['a', 'b', 'cd']]],
    ['a $0x1 ${nope}y', [['a', 'x1', 'y']]],
    ['a`b c`d $(e f)g', [['ad', 'g']]],
    ['"not closed', [['not closed']]],
  ] as const)
    t.same(wordsOf(script), words, script)
})

t.test('words of GRUB', async t => {
  for (const [script, words] of [
    [
      String.raw`linux m=3G\$0x1 "a\$b" '$c'`,
      [['linux', 'm=3G$0x1', 'a$b', '$c']],
    ],
    ['linux m=3G$0x1 a=1G$4294967296', [['linux', 'm=3Gx1', 'a=1G']]],
    ['linux a=b;c {d} e#f #g', [['linux', 'a=b'], ['c'], ['d'], ['e#f']]],
    ['linux $v "$v" ${v}z', [['linux', 'x', 'y', 'x y', 'x', 'yz']]],
  ] as const)
    t.same(wordsOf(script, GRUB), words, script)
})

t.test('what GRUB makes of an entry in a file', async t => {
  // Each was seen with GRUB 2.14, see findings/grub-bls-dollar.sh.
  const known = (name: string) => (name === 'v' ? 'value' : undefined)
  for (const [value, text] of [
    ['quiet', 'quiet'],
    ['a=3G$0x100000000 b=1', 'a=3Gb=1'],
    [String.raw`a=3G\$0x100000000 b=1`, String.raw`a=3G\b=1`],
    ['aa $v bb', 'aa value bb'],
    ['aa $v 3', 'aa value '],
    ['$none', null],
  ] as const)
    t.equal(expandBls(value, known).text, text, value)
})

/** How a file of each form holds what was written. */
const FILES: Readonly<Record<FormName, (text: string) => string>> = {
  grub: text => `menuentry 'x' {\n  linux /vmlinuz ${text}\n}\n`,
  'grub-default': text => `GRUB_CMDLINE_LINUX=""\n${text}\n`,
  grubby: text =>
    `index=0\nkernel="/boot/vmlinuz"\nargs="${/ --args='?(.*?)'?$/.exec(text)?.[1] ?? ''}"\n`,
  bls: text => `title x\nlinux /vmlinuz\noptions ${text}\n`,
  'systemd-boot': text => `title x\nlinux /vmlinuz\n${text}\n`,
  kexec: text => `kexec -l /vmlinuz ${text}\n`,
  qemu: text => `qemu-system-x86_64 -kernel vmlinuz ${text}\n`,
  libvirt: text =>
    `<domain type='kvm'><name>x</name><os><kernel>/k</kernel>${text}</os></domain>`,
  ipxe: text => `#!ipxe\nkernel http://example.org/vmlinuz ${text}\nboot\n`,
  syslinux: text => `LABEL x\n  LINUX /vmlinuz\n  ${text}\n`,
}

const word = fc.oneof(
  fc.constantFrom(
    'memmap=3G$0x100000000',
    'memmap=64M!4G',
    'memmap=16M#0x7f000000,1G%4G-1+2',
    'dyndbg="file tdx.c +p"',
    'mem=4G',
    'a=b;c',
    'x={y}',
    'z=$v',
    'c=&#65;',
    '#x',
    '&&',
  ),
  fc.stringMatching(
    /^[a-z][\w.-]{0,8}(?:=[\w$@!#%,;{}&|<>()*?~^+:/.-]{0,16})?$/,
  ),
  fc.stringMatching(/^[a-z]{1,4}="[a-z$;{}' \\]{0,12}"$/),
)

const isWritable = (form: FormName, words: readonly string[]): boolean =>
  words.every(one => FORMS[form].refuses(one) === undefined)

t.test('what is written is read back as it was', async t => {
  for (const form of FORM_NAMES)
    holds(
      t,
      form,
      fc.property(fc.array(word, { minLength: 1, maxLength: 6 }), words => {
        // These two put some words into a variable that is in another file, and
        // GRUB loses options of a single character.
        fc.pre(
          isWritable(form, words) &&
            (!/^(?:bls|grubby)$/.test(form) || words.join(' ').length > 1),
        )
        const { before, text } = writeLine(form, words)
        fc.pre(before === '' && !text.startsWith('grub2-editenv'))
        const file = FILES[form](text)
        const [handed, ...more] = FORMS[form].read(file)
        return (
          formsLike(file).includes(form) &&
          more.length === 0 &&
          handed?.losses.length === 0 &&
          isDeepStrictEqual(
            parseCmdline(handed.cmdline),
            parseCmdline(words.join(' ')),
          )
        )
      }),
    )
})

t.test('an entry file is no script of GRUB', async t => {
  t.same(formsLike('title x\nlinux /vmlinuz\noptions ro mem=4G\n'), [
    'bls',
    'systemd-boot',
  ])
})

t.test('no text of a file breaks the readers', async t => {
  const part = fc.constantFrom(
    'linux ',
    'menuentry ',
    'options ',
    'append ',
    'label x\n',
    '$',
    '${',
    '"',
    "'",
    '\\',
    '\n',
    '`',
    '$(',
    '{',
    '}',
    'kexec -l ',
    '--append=',
    'GRUB_CMDLINE_LINUX=',
    '#!ipxe\n',
    'kernel x ',
    '<domain>',
    '&&',
    ' ',
  )
  const text = fc
    .array(fc.oneof(part, fc.string({ maxLength: 4 })), { maxLength: 24 })
    .map(parts => parts.join(''))
  for (const form of FORM_NAMES)
    holds(
      t,
      form,
      fc.property(text, one => {
        try {
          FORMS[form].read(one)
        } catch (error) {
          if (!(error instanceof UsageError)) throw error
        }
      }),
    )
})

t.test('files that people have', async t => {
  for (const [form, text, expected] of [
    [
      'grub-default',
      'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet memmap=3G$0x100000000"\n',
      {
        line: 2,
        cmdline: 'quiet memmap=3Gx100000000',
        problems: [/takes \$0 for something of its own/, /cuts off all memory/],
        instead: String.raw`GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX memmap=3G\\\$0x100000000"`,
      },
    ],
    [
      'grub-default',
      String.raw`GRUB_CMDLINE_LINUX="memmap=3G\$0x100000000"`,
      {
        cmdline: 'memmap=3Gx100000000',
        problems: [/GRUB takes \$0/, /cuts off/],
      },
    ],
    [
      'grub-default',
      String.raw`GRUB_CMDLINE_LINUX="memmap=3G\\\$0x100000000"`,
      { cmdline: 'memmap=3G$0x100000000', problems: [] },
    ],
    [
      'grub',
      "set d='$'\nmenuentry 'Linux' --id x {\n linux /v ro memmap=1G${d}4G\n}\n",
      { line: 3, entry: 'Linux', cmdline: 'ro memmap=1G$4G', problems: [] },
    ],
    [
      'bls',
      'title Fedora\nlinux /v\noptions root=UUID=1 ro $tuned_params\noptions mem=4G\n',
      {
        cmdline: 'root=UUID=1 ro',
        unknown: ['tuned_params'],
        problems: [/line 4 does not arrive/],
      },
    ],
    [
      'systemd-boot',
      'title x\nlinux /v\noptions ro\noptions mem=4G -- memmap=1G@4G\n',
      {
        cmdline: 'ro mem=4G -- memmap=1G@4G',
        memory: ['mem=4G'],
        problems: [/behind '--'/],
      },
    ],
    [
      'ipxe',
      '#!ipxe\nset a mem=4G\nkernel -n vmlinuz http://x/v ${a} \\\n  ro ${net0/mac} # no\n',
      {
        line: 3,
        cmdline: 'mem=4G ro',
        problems: [/takes \$\{net0\/mac\} for a setting/],
      },
    ],
    [
      'syslinux',
      'append common\nlabel a\n linux v\n append one\n append mem=4G\nlabel b\n linux v\n',
      { entry: 'a', cmdline: 'mem=4G', problems: [/line 4 does not arrive/] },
    ],
    [
      'kexec',
      'sudo kexec -l /v --initrd=/i --append="memmap=3G$0x1" --reuse-cmdline\n',
      { cmdline: 'memmap=3Gx1', problems: [/the shell takes \$0/, /was/] },
    ],
    [
      'libvirt',
      '<domain>\n<name>td</name>\n<os>\n<cmdline>a=1 memmap=1G$4G &quot;b&quot;</cmdline></os></domain>',
      { line: 4, entry: 'td', cmdline: 'a=1 memmap=1G$4G "b"', problems: [] },
    ],
    [
      'libvirt',
      '<domain><os><cmdline>a=&amp;#65; b=&#66; c=&amp;amp; d=&#x26;lt;</cmdline></os></domain>',
      { cmdline: 'a=&#65; b=B c=&amp; d=&lt;' },
    ],
    [
      'libvirt',
      '<domain><os><cmdline><![CDATA[a=&amp;b c=&#66;]]></cmdline></os></domain>',
      { cmdline: 'a=&amp;b c=&#66;' },
    ],
  ] as const)
    t.match(arrivalsIn(form, text)[0], expected, text)
})

t.test('grubby is given what sed and a shell leave alone', async t => {
  // Each was run with grubby 8.40 of RHEL 8, RHEL 9 and Fedora 38.
  const plain = 'grubby --update-kernel=ALL --args='
  for (const words of [
    ['mem=4G', 'memmap=16M!0x18000000,1M#0x1a000000'],
    ['nohibernate'],
  ])
    t.match(writeLine('grubby', words).text, plain)
  for (const word of [
    'memmap=3G$0x100000000',
    'a=b;c',
    'd={e}',
    'f=&|<>*~`',
    '#j',
    'a(b=1',
    'a[b=1',
    'a+b=1',
    'dyndbg="file x.c +p"',
    '--',
  ])
    t.match(
      writeLine('grubby', ['quiet', word]).text,
      /^grub2-editenv - set tdxrig='quiet .*' &&\n {2}grubby --update-kernel=ALL --remove-args='\\\$tdxrig' --args='\$tdxrig'$/,
      word,
    )
})

t.test('what GRUB does not take as arguments is told', async t => {
  for (const [args, problem] of [
    ['quiet a"b mem=4G', /not closed: GRUB finds a syntax error/],
    ["quiet a'b mem=4G", /not closed: GRUB finds a syntax error/],
    ['quiet #j mem=4G', /takes '#j mem=4G' for a comment/],
    ['quiet a=b;c', /ends the command at ';'/],
    ['quiet a=b&c', /syntax error at '&'/],
    ['quiet "a b#c" d#e', undefined],
  ] as const) {
    const texts = [
      ['grubby', `kernel="/v"\nargs="${args}"\n`],
      ['bls', `title x\nlinux /v\noptions ${args}\n`],
    ] as const
    for (const [form, text] of texts) {
      const [arrival] = arrivalsIn(form, text)
      if (problem === undefined) t.same(arrival?.problems, [], text)
      else t.match(arrival?.problems, [problem], text)
    }
  }
})

t.test('what cannot be handed on is refused', async t => {
  for (const [form, given, message] of [
    ['grub', "a='b'", /GRUB puts a backslash/],
    ['ipxe', 'a=${b}', /setting/],
    ['syslinux', 'a\nb', /control character/],
    ['qemu', `a=${'b'.repeat(2048)}`, /at most 2047 bytes/],
    ['bls', `a=$${'b'.repeat(1000)}`, /at most 900 bytes, which GRUB's/],
    ['grubby', `a=;${'b'.repeat(1000)}`, /at most 900 bytes, which GRUB's/],
  ] as const)
    t.throws(() => writeLine(form, [given]), { message })
  t.equal(grubWord('a="b c"'), '"a=b c"')
})
