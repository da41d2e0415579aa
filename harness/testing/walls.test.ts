import t from 'tap'
import { type Import, type SourceFile, importGraph } from './import-graph.ts'

/**
 * Layers from the ground up: a folder imports from itself and from folders
 * that stand before it, never from one that stands after it.
 */
const LAYERS = [
  'base',
  'memory',
  'bootline',
  'tdx',
  'board',
  'guest',
  'console',
  'scenario',
  'kernel',
  'emulate',
  'machine',
  'judge',
  'report',
  'run',
  'coverage',
  'history',
  'reproduce',
  'fuzz',
  'night',
  'page',
  'cli',
  'testing',
]

/**
 * These take values and give values. Whatever runs when one of them is loaded
 * or called, directly or through other files, has no files, no processes and
 * no sockets.
 */
const PURE = [
  'memory',
  'bootline',
  'tdx',
  'board',
  'console',
  'judge',
  'report',
]

/** Modules that touch nothing outside the process. */
const HARMLESS = [
  'fastest-levenshtein',
  'node:buffer',
  'node:string_decoder',
  'node:util',
  'picocolors',
  'preact',
  'preact-render-to-string',
  'pure-rand',
  'yaml',
  'xmlbuilder2',
  'zod',
]

/** Files that are run, and not imported. */
const PROGRAMS = [
  'cli/main.ts',
  'cli/start.ts',
  'night/no-config.ts',
  'page/buffer.ts',
  'page/explain.ts',
  'page/node-util.ts',
  'page/report.tsx',
  'testing/bench-against.ts',
  'testing/bench-rates.ts',
  'testing/bench-reports.ts',
  'testing/bench.ts',
  'testing/coverage.ts',
  'testing/made-host/main.ts',
  'testing/night/bench-night.ts',
  'testing/night/bench-week.ts',
  'testing/night/bench-workers.ts',
  'testing/night/made-worker.ts',
  'testing/tap-summary.ts',
  'testing/update-examples.ts',
]

const graph = importGraph()
const layerOf = (path: string): string => path.split('/')[0]!
const isTest = (path: string): boolean => path.endsWith('.test.ts')
const product = [...graph.values()].filter(({ path }) => !isTest(path))

const inside = ({ imports }: SourceFile): Import[] =>
  imports.filter(one => one.inside)

t.test('every folder is a layer, and every import is there', async t => {
  t.same([...new Set([...graph.keys()].map(layerOf))].sort(), LAYERS.toSorted())
  const missing = [...graph.values()].flatMap(file =>
    inside(file)
      .filter(({ from }) => !graph.has(from))
      .map(({ from }) => `${file.path} -> ${from}`),
  )
  t.same(missing, [])
})

t.test('no import goes up', async t => {
  const upward = product.flatMap(file =>
    inside(file)
      .filter(
        ({ from }) =>
          LAYERS.indexOf(layerOf(from)) > LAYERS.indexOf(layerOf(file.path)),
      )
      .map(({ from }) => `${file.path} -> ${from}`),
  )
  t.same(upward, [], 'turn the dependency around')
})

t.test('no files import each other, not even for types', async t => {
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (path: string, way: readonly string[]): void => {
    const at = way.indexOf(path)
    if (at >= 0) cycles.push([...way.slice(at), path].join(' -> '))
    if (at >= 0 || done.has(path)) return
    for (const { from } of inside(graph.get(path)!)) visit(from, [...way, path])
    done.add(path)
  }
  for (const { path } of product) visit(path, [])
  t.same(cycles, [])
})

t.test('pure layers reach nothing outside the process', async t => {
  const reached = new Map<string, string[]>()
  /** Modules outside the harness, each with the way to it. */
  const reach = (path: string): string[] => {
    const known = reached.get(path)
    if (known) return known
    reached.set(path, [])
    const found = graph
      .get(path)!
      .imports.filter(({ typeOnly }) => !typeOnly)
      .flatMap(({ from, inside }) => (inside ? reach(from) : [from]))
      .map(way => `${path} -> ${way}`)
    reached.set(path, found)
    return found
  }
  const moduleOf = (way: string): string =>
    way
      .split(' -> ')
      .at(-1)!
      .replace(/^((?:@[^/]+\/)?[^/]+)\/.*$/, '$1')
  const impure = product
    .filter(({ path }) => PURE.includes(layerOf(path)))
    .flatMap(({ path }) => reach(path))
    .filter(way => !HARMLESS.includes(moduleOf(way)))
  t.same([...new Set(impure)], [])
})

t.test('what is exported is used elsewhere', async t => {
  const used = new Set<string>()
  for (const { imports } of graph.values())
    for (const { from, names } of imports)
      for (const name of names) used.add(`${from} ${name}`)
  const dead = product
    .filter(({ path }) => !PROGRAMS.includes(path) && !used.has(`${path} *`))
    .flatMap(({ path, exports }) =>
      exports.map(name => `${path} ${name}`).filter(name => !used.has(name)),
    )
  t.same(dead, [], 'make it private, or delete it')
})
