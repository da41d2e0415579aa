import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { examplesIn } from './doc-examples.ts'

t.test('every console block of the docs begins with a command', async t => {
  const docs = readdirSync(join(projectRoot(), 'docs'))
    .filter(name => name.endsWith('.md'))
    .map(name => join('docs', name))
  for (const file of ['README.md', ...docs]) {
    const text = readFileSync(join(projectRoot(), file), 'utf8')
    for (const { commands, output } of examplesIn(text))
      t.ok(
        commands.length > 0,
        `${file}: what only shows commands is marked sh: ${output.slice(0, 60)}`,
      )
  }
})
