import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import type { Test } from 'tap'
import { projectRoot } from '../base/paths.ts'

const HARNESS = join(projectRoot(), 'harness')

/** A line of the model with a bug in its place. */
export interface PlantedBug {
  readonly what: string
  readonly file: string
  readonly line: string
  readonly bug: string
}

/** What fuzzing must find, with boots and without. */
export const BUGS: readonly PlantedBug[] = [
  {
    what: 'off by one page at 1 MiB',
    file: 'memory/regions.ts',
    line: 'range.start >= MIB ? range : { ...range, start: MIB }',
    bug: 'range.start > MIB ? range : { ...range, start: MIB + 4096 }',
  },
  {
    what: 'partial pages rounded outwards',
    file: 'memory/memblock.ts',
    line: 'const end = alignDown(range.end, PAGE_SIZE)',
    bug: 'const end = alignUp(range.end, PAGE_SIZE)',
  },
  {
    what: 'neighbours of different nodes merged',
    file: 'memory/numa.ts',
    line: 'joinNeighbours(pieces, (a, b) => a.node === b.node)',
    bug: 'joinNeighbours(pieces, () => true)',
  },
  {
    what: 'the smaller e820 type wins',
    file: 'memory/e820.ts',
    line: 'for (const entry of this.#open) type = Math.max(type, entry.type)',
    bug: 'for (const entry of this.#open) type = type === 0 ? entry.type : Math.min(type, entry.type)',
  },
]

/** A module of the harness with a bug somewhere below it, as another module. */
export const withBug = async <Module>(
  t: Test,
  entry: string,
  { file, line, bug }: PlantedBug,
): Promise<Module> => {
  const outfile = join(t.testdir({}), 'changed.mjs')
  let planted = false
  await build({
    entryPoints: [join(HARNESS, entry)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'silent',
    packages: 'bundle',
    banner: {
      // yaml is CommonJS, and asks for Node's modules.
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
    plugins: [
      {
        name: 'planted-bug',
        setup: builder => {
          builder.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
            if (path !== join(HARNESS, file)) return undefined
            const source = await readFile(path, 'utf8')
            planted = source.split(line).length === 2
            return { contents: source.replace(line, bug), loader: 'ts' }
          })
        },
      },
    ],
  })
  t.ok(planted, `'${line}' stands once in ${file}`)
  return (await import(pathToFileURL(outfile).href)) as Module
}
