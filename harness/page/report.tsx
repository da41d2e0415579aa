import { render } from 'preact'
import { caseAnchor, caseOfAnchor } from '../report/html/anchors.ts'
import { CaseView, type CaseViewProps } from '../report/html/case-view.tsx'
import type { ReportIndex } from '../report/html/report-page.tsx'
import { goToLine, moveInPicture } from './keys.ts'
import { unpackJson } from './unpack.ts'

/** What runs in the browser that shows a report. */

const element = (id: string): HTMLElement => document.getElementById(id)!

const index = JSON.parse(element('index').textContent) as ReportIndex
const overview = element('overview')
const part = element('case')

/** Blocks that were looked at stay unpacked. */
const blocks = new Map<number, Promise<readonly CaseViewProps[]>>()

const detailsOf = async (at: number): Promise<CaseViewProps | undefined> => {
  const number = Math.floor(at / index.perBlock)
  const block =
    blocks.get(number) ??
    unpackJson<readonly CaseViewProps[]>(
      JSON.parse(element(`block-${number}`).textContent) as string,
    )
  blocks.set(number, block)
  return (await block)[at % index.perBlock]
}

const show = async (): Promise<void> => {
  const at = caseOfAnchor(location.hash)
  const isCase = at !== undefined && at < index.cases
  overview.hidden = isCase
  part.hidden = !isCase
  render(null, part)
  if (!isCase) return
  const details = await detailsOf(at)
  // Somebody may have gone on in the meantime.
  if (!details || caseOfAnchor(location.hash) !== at) return
  render(
    <>
      <p class="noprint">
        <a href="#">all cases</a> <a href={step(at, -1)}>previous</a>{' '}
        <a href={step(at, 1)}>next</a>
      </p>
      <CaseView {...details} />
    </>,
    part,
  )
  scrollTo(0, 0)
  part.focus()
}

/** The case before or after one. */
const step = (at: number, by: number): string =>
  caseAnchor((at + by + index.cases) % index.cases)

/** The next case that did not pass, from the one that is shown. */
const nextWrong = (by: 1 | -1): void => {
  const { wrong } = index
  if (wrong.length === 0) return
  const at = caseOfAnchor(location.hash) ?? (by > 0 ? -1 : index.cases)
  const next =
    by > 0
      ? (wrong.find(one => one > at) ?? wrong[0]!)
      : (wrong.findLast(one => one < at) ?? wrong.at(-1)!)
  location.hash = caseAnchor(next)
}

const search = element('search') as HTMLInputElement
const boxes = [
  ...document.querySelectorAll<HTMLInputElement>('#bar [type=checkbox]'),
]

/** Shows what holds the text and has one of the verdicts. */
const filter = (): void => {
  const text = search.value.toLowerCase()
  const verdicts = new Set(
    boxes.filter(box => box.checked).map(({ value }) => value),
  )
  let found = 0
  for (const item of document.querySelectorAll<HTMLElement>('[data-case]')) {
    const own = item.hasAttribute('data-verdict')
      ? [item]
      : [...item.querySelectorAll('[data-verdict]')]
    const matches = own.filter(one =>
      verdicts.has(one.getAttribute('data-verdict')!),
    )
    const named = item.getAttribute('data-case')!.toLowerCase().includes(text)
    item.hidden = !named || matches.length === 0
    if (!item.hidden && item.tagName === 'TR') found += matches.length
  }
  element('found').textContent = `${found} of ${index.cases} cases`
}

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLInputElement && target.type === 'search'

const onKey = (event: KeyboardEvent): void => {
  if (event.ctrlKey || event.metaKey || event.altKey) return
  if (moveInPicture(event)) return
  if (event.key === 'Escape') {
    if (isTyping(event.target)) search.blur()
    else location.hash = ''
    return
  }
  if (isTyping(event.target)) return
  if (event.key === 'n') nextWrong(1)
  else if (event.key === 'p') nextWrong(-1)
  else if (event.key === '/') {
    event.preventDefault()
    location.hash = ''
    // The address changes later, and what is hidden takes no focus.
    overview.hidden = false
    part.hidden = true
    search.focus()
  }
}

element('bar').hidden = false
search.addEventListener('input', filter)
for (const box of boxes) box.addEventListener('change', filter)
addEventListener('hashchange', () => void show())
addEventListener('keydown', onKey)
document.addEventListener('click', goToLine)
filter()
void show()
