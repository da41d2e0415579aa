import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { ExampleFolder, examplesIn, steadyLines } from './doc-examples.ts'

const FILES = [
  'README.md',
  ...readdirSync(join(projectRoot(), 'docs'))
    .filter(name => name.endsWith('.md'))
    .map(name => join('docs', name)),
]

t.test('README and docs show what the program prints', async t => {
  using folder = new ExampleFolder()
  let examples = 0
  for (const file of FILES) {
    const text = readFileSync(join(projectRoot(), file), 'utf8')
    for (const example of examplesIn(text)) {
      examples++
      t.same(
        steadyLines(await folder.run(example)),
        steadyLines(example.output),
        `${file}: ${example.commands.join('; ')} (./scripts/examples writes it anew)`,
      )
    }
  }
  t.ok(examples >= 8, `${examples} examples`)
})
