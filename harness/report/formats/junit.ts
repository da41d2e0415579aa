import { create } from 'xmlbuilder2'
import { visible } from '../../base/text.ts'
import type { CaseResult, ResultDocument } from '../schema.ts'

/**
 * Text as it is to be read. xmlbuilder2 4.0.3 leaves an ampersand alone where a
 * name or a number and a semicolon follow: `&x;` and `&#0;` of a console would
 * break the document.
 */
const shown = (text: string): string => visible(text).replaceAll('&', '&amp;')

/**
 * JUnit XML, as Jenkins, GitLab and others read it: a suite for each kernel, a
 * test case for each case. `fail` and `invalid` are failures, `error` is an
 * error.
 */
export const junit = (document: ResultDocument): string => {
  const { cases, summary, durationMs, started, rig } = document
  const root = create(
    // `visible` shows control characters; what is left and XML cannot hold,
    // U+FFFF and halves of pairs, is replaced.
    { version: '1.0', encoding: 'UTF-8', invalidCharReplacement: '\ufffd' },
  ).ele('testsuites', {
    name: 'tdxrig',
    tests: cases.length,
    failures: summary.fail + summary.invalid,
    errors: summary.error,
    skipped: summary.skip,
    time: seconds(durationMs),
    timestamp: started,
  })
  for (const [kernel, own] of groupBy(cases, ({ kernel }) => kernel)) {
    const suite = root.ele('testsuite', {
      name: shown(kernel),
      tests: own.length,
      failures: countOf(own, 'fail') + countOf(own, 'invalid'),
      errors: countOf(own, 'error'),
      skipped: countOf(own, 'skip'),
      time: seconds(own.reduce((sum, one) => sum + one.timing.totalMs, 0)),
      timestamp: started,
    })
    const build = document.kernels.find(({ name }) => name === kernel)
    const properties = suite.ele('properties')
    for (const [name, value] of [
      ['rig', rig.version],
      ['machine', rig.machine],
      ['board', rig.board],
      ['release', build?.release ?? ''],
      ['build', build?.key ?? ''],
    ] as const)
      properties.ele('property', { name, value: shown(value) })
    for (const result of own) addCase(suite, result)
  }
  return `${root.end({ prettyPrint: true })}\n`
}

type Element = ReturnType<ReturnType<typeof create>['ele']>

const addCase = (suite: Element, result: CaseResult): void => {
  const { id, scenario, verdict, reasons, timing } = result
  const element = suite.ele('testcase', {
    classname: shown(id.replace(/[[@].*$/s, '').replaceAll('/', '.')),
    name: shown(id),
    file: shown(scenario),
    time: seconds(timing.totalMs),
  })
  const [first] = reasons
  const message = shown(first?.message ?? '')
  const text = reasons.map(one => shown(one.message)).join('\n')
  if (verdict === 'skip') element.ele('skipped', { message })
  else if (verdict === 'error')
    element.ele('error', { message, type: first?.check ?? '' }).txt(text)
  else if (verdict !== 'pass')
    element.ele('failure', { message, type: verdict }).txt(text)
  if (verdict === 'pass' || verdict === 'skip') return
  element
    .ele('system-out')
    .txt(
      [
        ...(result.console === null
          ? []
          : [`console: ${shown(result.console)}`]),
        `again: ${shown(result.reproduce)}`,
      ].join('\n'),
    )
}

const seconds = (ms: number): string => (ms / 1000).toFixed(3)

const countOf = (
  cases: readonly CaseResult[],
  verdict: CaseResult['verdict'],
): number => cases.filter(one => one.verdict === verdict).length

const groupBy = <T>(
  items: readonly T[],
  key: (item: T) => string,
): Map<string, T[]> => {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const name = key(item)
    const group = groups.get(name)
    if (group) group.push(item)
    else groups.set(name, [item])
  }
  return groups
}
