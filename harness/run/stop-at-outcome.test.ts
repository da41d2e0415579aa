import t from 'tap'
import { InfraError } from '../base/errors.ts'
import { WITNESS_NAMES } from '../machine/record.ts'
import { MAINLINE_7_1 } from '../tdx/series/mainline-7.1.ts'
import { namedCase } from '../testing/records.ts'
import type { PreparedKernel } from './kernels.ts'
import { runCases } from './run.ts'
import { Workspace } from './workspace.ts'

t.test('which boots may end at the outcome', async t => {
  const asked: Record<string, boolean | undefined> = {}
  const cells = {
    plain: {},
    'another step': { steps: ['trigger', { offline: 1 }] },
    'a panic': { expect: { panic: 'x' } },
    'a warning': { expect: { tdx: 'predicted', warning: 'x' } },
    'a hang': { expect: { hangs: 'SYS.INIT' } },
    'a warning on this series': {
      expect: {
        tdx: 'predicted',
        on: { 'mainline-7.1': { tdx: 'predicted', warning: 'x' } },
      },
    },
    'a warning on another series': {
      expect: {
        tdx: 'predicted',
        on: { v6: { tdx: 'predicted', warning: 'x' } },
      },
    },
  }
  const boot = async (
    trigger: PreparedKernel['trigger'],
    stopAtOutcome: boolean | undefined,
  ): Promise<Record<string, boolean | undefined>> => {
    await using workspace = Workspace.create()
    await runCases({
      cases: Object.entries(cells).map(([id, cell]) =>
        namedCase(cell, id, 'k'),
      ),
      machine: {
        description: 'a stand-in',
        witnesses: new Set(WITNESS_NAMES),
        boot: ({ directory, stopsAtOutcome }) => {
          const at = Number(/(\d+)-1$/.exec(directory)?.[1])
          asked[Object.keys(cells)[at]!] = stopsAtOutcome
          throw new InfraError('TEST', 'no machine today')
        },
      },
      workspace,
      jobs: 1,
      kernels: new Map([
        [
          'k',
          {
            name: 'k',
            series: MAINLINE_7_1,
            trigger,
            programs: { init: process.execPath },
          } as unknown as PreparedKernel,
        ],
      ]),
      signal: new AbortController().signal,
      ...(stopAtOutcome !== undefined && { stopAtOutcome }),
    })
    return { ...asked }
  }
  t.same(await boot('at boot', true), {
    plain: true,
    'another step': false,
    'a panic': false,
    'a warning': false,
    'a hang': false,
    'a warning on this series': false,
    'a warning on another series': true,
  })
  const none = Object.fromEntries(Object.keys(cells).map(id => [id, false]))
  t.same(await boot('at boot', undefined), none, 'nobody asked for it')
  t.same(await boot('tdx_enable', true), none, 'init asks for TDX')
})
