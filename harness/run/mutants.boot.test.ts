import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { DEFAULT_BOARD } from '../board/index.ts'
import { type CaseOutcome, verdictOf } from '../judge/case-outcome.ts'
import { type SourceRecipe, loadRecipe } from '../kernel/recipe.ts'
import type { Patch } from '../kernel/mailed-patches.ts'
import { loadCases } from '../scenario/load.ts'
import { LAST_PAGE_IS_LOST } from '../testing/last-page.ts'
import { realMachine } from '../testing/real-boots.ts'
import { prepareKernels } from './kernels.ts'
import { runCases } from './run.ts'
import { Workspace } from './workspace.ts'

/**
 * Kernels that were broken on purpose: a matrix that passes on one of them
 * proves nothing about the others.
 */

// It builds a kernel for each: see bisect.boot.test.ts.
t.setTimeout(3_000_000)

/** A recipe with one line of its patches replaced. */
const edited = (recipe: SourceRecipe, from: string, to: string): Patch[] => {
  const hits = recipe.patches.filter(({ content }) => content.includes(from))
  if (hits.length !== 1)
    throw new Error(`expected '${from}' in one patch, found ${hits.length}`)
  return recipe.patches.map(patch => ({
    ...patch,
    content: Buffer.from(patch.content.toString().replace(from, to)),
  }))
}

/** A patch on top of the others that replaces one line of tdx.c. */
const added = (recipe: SourceRecipe, diff: readonly string[]): Patch[] => [
  ...recipe.patches,
  {
    name: 'mutation',
    path: 'this test',
    content: Buffer.from(
      [
        '--- a/arch/x86/virt/vmx/tdx/tdx.c',
        '+++ b/arch/x86/virt/vmx/tdx/tdx.c',
        ...diff,
        '',
      ].join('\n'),
    ),
  },
]

/**
 * What TDH.SYS.CONFIG refused is not given back. Context behind the line is as
 * long as before it: patch takes a shorter one for the end of the file.
 */
const PAMTS_ARE_LOST = [
  '@@ -1184,7 +1184,7 @@',
  ' \t/* Pass the TDMRs and the global KeyID to the TDX module */',
  ' \tret = config_tdx_module(&tdx_tdmr_list, tdx_global_keyid);',
  ' \tif (ret)',
  '-\t\tgoto err_free_pamts;',
  '+\t\tgoto err_free_tdmrs;',
  ' ',
  ' \t/* Config the key of global KeyID on all packages */',
  ' \tret = config_global_keyid();',
]

interface Mutant {
  readonly name: string
  readonly base: string
  readonly mutate: (recipe: SourceRecipe) => Patch[]
  /** A shipped scenario that finds it, and what it says. */
  readonly scenario: string
  /** Of its cases those with this in their ids; default: all. */
  readonly only?: string
  readonly reason: { readonly check: string; readonly message: RegExp }
}

const MUTANTS: readonly Mutant[] = [
  {
    name: 'mutant-v6-first-mib',
    base: 'v6-6.1',
    mutate: recipe =>
      edited(
        recipe,
        'start_pfn = max(start_pfn, PHYS_PFN(SZ_1M));',
        'start_pfn = max(start_pfn, 0UL);',
      ),
    scenario: 'plain/two-uneven-nodes.yaml',
    reason: {
      check: 'regions-printed',
      message: /region 0 differs.*expected \[0x100000, .*found \[0x1000, /,
    },
  },
  {
    name: 'mutant-v6-nid',
    base: 'v6-6.1',
    mutate: recipe => edited(recipe, 'block->nid = nid;', 'block->nid = 0;'),
    scenario: 'plain/two-uneven-nodes.yaml',
    reason: {
      check: 'regions-memory',
      message:
        /region 2 differs: expected .* node 1, found \[0x120000000, 0x180000000\) node 0/,
    },
  },
  {
    name: 'mutant-v6-touching-cmrs',
    base: 'v6-6.1',
    mutate: recipe =>
      edited(
        recipe,
        'if (tdx_cmrs[i].base < end) {',
        'if (tdx_cmrs[i].base <= end) {',
      ),
    scenario: 'limits/touching-cmrs.yaml',
    reason: { check: 'cmrs', message: /in order, .* calls them BIOS-CMR/ },
  },
  {
    name: 'mutant-v6-no-shutdown',
    base: 'v6-6.1',
    mutate: recipe =>
      edited(
        recipe,
        'on_each_cpu(lp_shutdown, NULL, true);',
        'lp_shutdown(NULL);',
      ),
    scenario: 'limits/module-refuses.yaml',
    reason: {
      check: 'shutdown',
      message: /LP\.SHUTDOWN on CPU \d never succeeded/,
    },
  },
  {
    name: 'mutant-v6-leak',
    base: 'v6-6.1',
    mutate: recipe =>
      edited(
        recipe,
        'free_pages_exact(array, size);',
        'if (!ret) free_pages_exact(array, size);',
      ),
    scenario: 'faults/clean-up.yaml',
    only: 'SYS.CONFIG',
    reason: {
      check: 'freed',
      message:
        /leak: .* found 4096 bytes \(pages\) of allocation \d+, which \S+\(\) made with alloc_pages_exact\(\)/,
    },
  },
  {
    name: 'mutant-mainline-leak',
    base: 'mainline-7.3',
    mutate: recipe => added(recipe, PAMTS_ARE_LOST),
    scenario: 'faults/clean-up.yaml',
    only: 'SYS.CONFIG',
    reason: {
      check: 'freed',
      message:
        /leak: .* found \d+ bytes \(contiguous pages\) of allocation \d+, which \S+\(\) made with alloc_contig_pages/,
    },
  },
  {
    name: 'mutant-upstream-last-page',
    base: 'upstream-6.12',
    mutate: recipe => added(recipe, LAST_PAGE_IS_LOST),
    scenario: 'plain/one-node.yaml',
    reason: {
      check: 'regions-memory',
      message: /region 0 differs.*found \[0x100000, 0x7ffdf000\)/,
    },
  },
]

const bootMutant = async ({
  name,
  base,
  mutate,
  scenario,
  only = '',
}: Mutant): Promise<CaseOutcome[]> => {
  const recipe = await loadRecipe(base)
  if (recipe.kind !== 'source') throw new Error(`${base} has no source`)
  const cases = await loadCases([join(projectRoot(), 'scenarios', scenario)], {
    kernels: [name],
    onlyKernels: [name],
    board: DEFAULT_BOARD,
  })
  const { signal } = new AbortController()
  await using workspace = Workspace.create()
  return await runCases({
    cases: cases.filter(({ id }) => id.includes(only)),
    workspace,
    signal,
    jobs: 2,
    machine: await realMachine(),
    kernels: await prepareKernels(
      [{ ...recipe, name, patches: mutate(recipe) }],
      { workspace, onBuild: () => undefined, signal },
    ),
  })
}

for (const mutant of MUTANTS)
  t.test(`${mutant.name} is caught by ${mutant.scenario}`, async t => {
    const results = await bootMutant(mutant)
    t.ok(results.length > 0)
    for (const outcome of results) {
      t.equal(verdictOf(outcome), 'fail')
      const reasons = outcome.kind === 'judged' ? outcome.judgement.reasons : []
      t.match(
        reasons.find(({ check }) => check === mutant.reason.check),
        mutant.reason,
        'and it says what is wrong',
        { reasons },
      )
    }
  })
