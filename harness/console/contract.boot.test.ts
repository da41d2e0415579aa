import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { buildKernel } from '../kernel/build.ts'
import { defaultRecipeNames, loadRecipe } from '../kernel/recipe.ts'
import { type FormatString, formatStrings } from '../testing/format-strings.ts'
import { MESSAGES } from './catalogue.ts'

/**
 * The catalogue knows every message that the kernels of our recipes can print
 * about TDX, word for word.
 */

const known = new Set(
  MESSAGES.flatMap(({ prefixes, format }) =>
    prefixes.map(prefix => prefix + format),
  ),
)

/**
 * A file that others include has the prefix of those; and a format that goes on
 * with a macro of another file (TDX_VERSION_FMT) ends with a blank here.
 */
const isKnown = ({ prefix, format }: FormatString): boolean =>
  known.has(prefix + format) ||
  (prefix === '' &&
    MESSAGES.some(
      message =>
        message.format === format ||
        (format.endsWith(': ') && message.format.startsWith(format)),
    ))

/** `file:line: message` of what the catalogue does not know. */
const unknownIn = (folder: string): { all: number; unknown: string[] } => {
  const strings = (readdirSync(folder, { recursive: true }) as string[])
    .filter(name => /\.[ch]$/.test(name))
    .flatMap(name =>
      formatStrings(readFileSync(join(folder, name), 'utf8')).map(found => ({
        ...found,
        place: `arch/x86/virt/vmx/tdx/${name}:${found.line}`,
      })),
    )
  return {
    all: strings.length,
    unknown: strings
      .filter(found => !isKnown(found))
      .map(({ place, prefix, format }) => `${place}: ${prefix}${format}`),
  }
}

t.test('every TDX message of the kernels is in the catalogue', async t => {
  for (const name of await defaultRecipeNames()) {
    const { tdxSources } = await buildKernel(await loadRecipe(name), {
      onProgress: () => undefined,
    })
    if (tdxSources === undefined) {
      t.fail(`${name} was built without TDX host support`)
      continue
    }
    const { all, unknown } = unknownIn(tdxSources)
    t.ok(all >= 15, `${name}: ${all} messages`)
    t.same(unknown, [], `${name}: unknown messages`)
  }
})

t.test('a message nobody knows is named with file and line', async t => {
  const folder = t.testdir({
    'tdx.c': [
      '#define pr_fmt(fmt)	"virt/tdx: " fmt',
      '/* pr_err("not this") */',
      'void f(void)',
      '{',
      '	pr_info("module initialized\\n"); // pr_err("nor this")',
      '	pr_err_once("something "',
      '		    "new: \\"%d\\"\\n", 1);',
      '	pr_debug("quiet\\n");',
      '}',
    ].join('\n'),
  })
  t.same(unknownIn(folder), {
    all: 2,
    unknown: ['arch/x86/virt/vmx/tdx/tdx.c:6: virt/tdx: something new: "%d"'],
  })
  t.throws(() => formatStrings('pr_err(text);'), /line 1: the format is no/)
})
