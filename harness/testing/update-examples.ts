import { readFileSync, writeFileSync } from 'node:fs'
import { argv } from 'node:process'
import { ExampleFolder, examplesIn, withOutputs } from './doc-examples.ts'

/** Runs the examples of the files it is given, and writes down what comes. */
using folder = new ExampleFolder()
for (const path of argv.slice(2)) {
  const markdown = readFileSync(path, 'utf8')
  const outputs: string[] = []
  for (const example of examplesIn(markdown))
    outputs.push(await folder.run(example))
  writeFileSync(path, withOutputs(markdown, outputs))
}
