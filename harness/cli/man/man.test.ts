import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { findProgram, projectRoot } from '../../base/paths.ts'
import { shortFolder } from '../../testing/cli.ts'
import { type CommandNode, commandTree, flattened } from '../command-tree.ts'
import { EXIT_STATUS } from '../exit-code.ts'
import { program } from '../program.ts'
import { manualPage } from './page.ts'
import { prose, roffText } from './roff.ts'

const ROOT = commandTree(program(() => () => Promise.resolve()))
const PAGE = manualPage(ROOT, '1.2.3')

const pageIn = (t: Test, text: string): string => {
  const path = join(shortFolder(t), 'tdxrig.1')
  writeFileSync(path, text)
  return path
}

/** What stands between the heading of a command and the next one. */
const sectionOf = ({ words }: CommandNode): string => {
  const heading = `.SS "${roffText(['tdxrig', ...words].join(' '))}"\n`
  const start = PAGE.indexOf(heading)
  if (start < 0) return ''
  const [text = ''] = PAGE.slice(start + heading.length).split(/^\.S[SH] /m)
  return text
}

t.test('every command with its arguments and options is there', async t => {
  for (const node of flattened(ROOT).slice(1)) {
    const text = sectionOf(node)
    const name = node.words.join(' ')
    const filled = text.replaceAll('\n', ' ')
    t.ok(filled.includes(roffText(node.description.slice(1))), name)
    for (const { term } of node.arguments)
      t.ok(text.includes(`\n\\fI${roffText(term)}\\fR\n`), `${name} ${term}`)
    for (const { long, description } of node.options) {
      if (long === '--help') continue
      t.ok(text.includes(`\\fB${roffText(long)}\\fR`), `${name} ${long}`)
      t.ok(
        filled.includes(roffText(description.slice(1))),
        `${name} ${long}: with choices and default`,
      )
    }
  }
  t.match(PAGE, '\\-\\-version')
  t.match(PAGE, '\\-\\-help')
})

t.test('the exit codes are those of the README', async t => {
  const readme = readFileSync(join(projectRoot(), 'README.md'), 'utf8')
  t.same(
    EXIT_STATUS.map(([code]) => code),
    [...readme.matchAll(/^\| (\d+) +\|/gm)].map(([, code]) => Number(code)),
  )
})

/** Text with all that means something to roff. */
const NASTY = fc
  .array(
    fc.oneof(
      fc.constantFrom('.so /etc/passwd', "'br", '\\fB', '\\', '\n', '"', '-'),
      fc.string({ unit: 'binary' }),
    ),
  )
  .map(parts => parts.join(' '))

t.test('no text controls the formatter', async t => {
  fc.assert(
    fc.property(NASTY, text => {
      const lines = prose(text).split('\n')
      return lines.every(
        line =>
          // Printable ASCII, no request, and no escape but those of roffText.
          /^[ -~]*$/.test(line) &&
          !/^[.']/.test(line) &&
          line
            .replaceAll(
              /\\(?:\((?:rs|aq|ga|ha|ti|dq)|-|&|\[u[0-9A-F]{4,6}\])/g,
              '',
            )
            .indexOf('\\') < 0,
      )
    }),
  )
  t.equal(roffText('.so x'), '\\&.so x')
  t.equal(roffText("'br"), '\\(aqbr')
  t.equal(roffText('a\\fB --b\n.br'), 'a\\(rsfB \\-\\-b .br')
  t.equal(roffText('\u001b[31m'), '\\(rsx1b[31m')
  t.match(prose(`${'word '.repeat(20)}${'.x '.repeat(40)}`), /^\\&\.x/m)
})

const needs = async (name: string): Promise<string | false> =>
  (await findProgram(name)) === undefined && `there is no ${name} in PATH`

t.test('man has no warnings', { skip: await needs('man') }, async t => {
  const { stdout, stderr } = await execa(
    'man',
    ['--warnings', '-E', 'UTF-8', '-l', pageIn(t, PAGE)],
    { env: { LC_ALL: 'C.UTF-8', MANWIDTH: '80' } },
  )
  t.equal(stderr, '')
  t.match(stdout, /^NAME\n +tdxrig +- +boots +Linux +kernels/m)
  t.match(stdout, /^ +--kernel-build <path>$/m)
})

t.test(
  'mandoc has nothing to say',
  { skip: await needs('mandoc') },
  async t => {
    const { stdout } = await execa(
      'mandoc',
      ['-T', 'lint', '-W', 'warning', pageIn(t, PAGE)],
      { reject: false },
    )
    // The page of a version is the same whenever it is made: it has no date.
    t.same(
      stdout.split('\n').filter(line => !/^$|missing date/.test(line)),
      [],
    )
  },
)
