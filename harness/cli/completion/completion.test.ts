import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import t, { type Test } from 'tap'
import { findProgram, projectRoot } from '../../base/paths.ts'
import { shortFolder } from '../../testing/cli.ts'
import { commandTree, flattened } from '../command-tree.ts'
import { program } from '../program.ts'
import { SHELLS, type Shell } from '../words.ts'
import { bashCompletion } from './bash.ts'
import { fishCompletion } from './fish.ts'
import type { Completed } from './script.ts'
import { zshCompletion } from './zsh.ts'

const ROOT = commandTree(program(() => () => Promise.resolve()))
const COMMANDS = ROOT.commands.map(({ words }) => words.join(' '))
const KERNELS = ['mainline-7.3', 'upstream-6.12']

const GENERATORS: Readonly<Record<Shell, (completed: Completed) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
}

/**
 * How a shell is asked what it completes: it prints a line for each command
 * line, the words separated by spaces.
 */
const ASK: Readonly<
  Record<Shell, (script: string, lines: readonly string[]) => string[]>
> = {
  // Bash splits at the characters of COMP_WORDBREAKS, and so at '='.
  bash: (script, lines) => [
    '-c',
    [
      `source ${script}`,
      'ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tdxrig; echo "${COMPREPLY[*]}"; }',
      ...lines.map(line => {
        const words = line.replaceAll('=', ' = ').split(/ +/)
        const quoted = words.map(word => `'${word}'`).join(' ')
        return `ask ${quoted.replace(/'=' ''$/, "'='")}`
      }),
    ].join('\n'),
  ],
  zsh: (script, lines) => [
    '-f',
    join(projectRoot(), 'harness', 'testing', 'zsh-completions.zsh'),
    script,
    ...lines,
  ],
  fish: (script, lines) => [
    '--no-config',
    '-c',
    [
      `source ${script}`,
      ...lines.map(
        line =>
          `echo (complete -C '${line}' | string replace -r '\\t.*' '' | string join ' ')`,
      ),
    ].join('\n'),
  ],
}

/** Command lines, and what is offered for their last word. */
const CASES: readonly (readonly [string, readonly string[]])[] = [
  ['tdxrig ', COMMANDS],
  ['./scripts/tdxrig sch', ['schema']],
  ['tdxrig run --rep', ['--repeat', '--reporter']],
  ['tdxrig run --reporter ', ['pretty', 'tap', 'github']],
  ['tdxrig run --reporter=t', ['tap']],
  ['tdxrig run --reporter tap --acc', ['--accel']],
  ['tdxrig run --kernel m', ['mainline-7.3']],
  ['tdxrig run --kernel mainline-7.3 --kernel u', ['upstream-6.12']],
  ['tdxrig run --kernel=mainline-7.3 --accel t', ['tcg']],
  ['tdxrig run ', ['layout.yaml', 'results']],
  ['tdxrig run layout.yaml l', ['layout.yaml']],
  ['tdxrig run --out ', ['results']],
  // Text that nobody can list.
  ['tdxrig run --filter ', []],
  ['tdxrig run --filter run l', ['layout.yaml']],
  ['tdxrig run -- l', ['layout.yaml']],
  ['tdxrig run --json l', ['layout.yaml']],
  // There --json takes no value.
  ['tdxrig compare --json l', ['layout.yaml']],
  ['tdxrig compare layout.yaml l', ['layout.yaml']],
  [
    'tdxrig history ',
    ['add', 'list', 'show', 'baseline', 'flaky', 'trend', 'prune'],
  ],
  ['tdxrig history show --rep', ['--reporter']],
  ['tdxrig history baseline ', []],
  ['tdxrig hosts ', ['list', 'check', 'boot', 'script']],
  ['tdxrig hosts check ', []],
  ['tdxrig kernel build ', KERNELS],
  ['tdxrig kernel build mainline-7.3 u', ['upstream-6.12']],
  ['tdxrig kernel check m', ['mainline-7.3']],
  ['tdxrig kernel check r', ['results']],
  // Its value may be left out.
  ['tdxrig bisect --patches l', ['layout.yaml']],
  ['tdxrig bisect --patches --good x --fil', ['--filter']],
  ['tdxrig bisect --patches --fil', ['--filter']],
  ['tdxrig bisect --kernel ', KERNELS],
  ['tdxrig schema ', ['scenario', 'result', 'explain', 'hosts', 'night']],
  ['tdxrig completion ', ['bash', 'zsh', 'fish']],
]

const scriptIn = (t: Test, shell: Shell): { cwd: string; script: string } => {
  const cwd = shortFolder(t)
  // Elsewhere: what is in the folder is completed.
  const script = join(shortFolder(t), 'script')
  writeFileSync(script, GENERATORS[shell]({ root: ROOT, kernels: KERNELS }))
  return { cwd, script }
}

/** Some shells add what belongs behind a word, or what stood before it. */
const bare = (word: string): string =>
  word.replace(/^--\w+=/, '').replace(/\/$/, '')

for (const shell of SHELLS) {
  const binary = await findProgram(shell)
  const skip = binary === undefined && `there is no ${shell} in PATH`
  t.test(
    `${shell} completes commands, options and values`,
    { skip },
    async t => {
      const { cwd, script } = scriptIn(t, shell)
      mkdirSync(join(cwd, 'results'))
      writeFileSync(join(cwd, 'layout.yaml'), '')
      const { stdout, stderr } = await execa(
        shell,
        ASK[shell](
          script,
          CASES.map(([line]) => line),
        ),
        { cwd, timeout: 60_000, env: { TERM: 'dumb', LC_ALL: 'C' } },
      )
      const answers = stdout.split(/\r?\n/)
      t.equal(stderr, '')
      for (const [i, [line, expected]] of CASES.entries())
        t.same(
          [...new Set(answers[i]?.split(' ').filter(Boolean).map(bare))].sort(),
          expected.toSorted(),
          line,
        )
    },
  )
}

t.test('bash can load it twice, and runs no word of the line', async t => {
  const { cwd, script } = scriptIn(t, 'bash')
  const { stdout, stderr } = await execa(
    'bash',
    [
      '-c',
      `source ${script}; source ${script}
       COMP_WORDS=(tdxrig '$(touch made)' '\`touch made\`' '$(touch made)') COMP_CWORD=3
       _tdxrig; echo *`,
    ],
    { cwd },
  )
  t.equal(stderr, '')
  t.equal(stdout, '*')
})

const shellcheck = await findProgram('shellcheck')
t.test(
  'shellcheck has nothing to say',
  { skip: shellcheck === undefined && 'there is no shellcheck in PATH' },
  async t => {
    const { script } = scriptIn(t, 'bash')
    const { stdout } = await execa('shellcheck', ['-s', 'bash', script], {
      reject: false,
    })
    t.equal(stdout, '')
  },
)

t.test(
  'a recipe whose name means something to a shell is left out',
  async t => {
    const kernels = ["a'; touch made; '", '$(touch made)', 'good']
    for (const shell of SHELLS) {
      const text = GENERATORS[shell]({ root: ROOT, kernels })
      t.notMatch(text, 'touch made', shell)
      t.match(text, 'good', shell)
    }
  },
)

/** Values that cannot be listed; others need a row in command-tree.ts. */
const TEXT =
  'age n name names ref run share size text time word label address url parameters number'

t.test('it is known what each placeholder stands for', async t => {
  const known = new Set(TEXT.split(' '))
  const unknown = flattened(ROOT).flatMap(node =>
    [
      ...node.arguments.map(({ term, values }) => ({ term, values })),
      ...node.options.map(({ value = '', values }) => ({
        term: value,
        values,
      })),
    ]
      .filter(({ values }) => values.kind === 'text')
      .map(({ term }) => term.replaceAll(/[<>[\].]/g, ''))
      .filter(name => name !== '' && !known.has(name)),
  )
  t.same(unknown, [])
})
