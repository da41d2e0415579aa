/** Keys and links that reports and the page have in common. */

/** Goes from range to range in a picture. @returns whether it did */
export const moveInPicture = (event: KeyboardEvent): boolean => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
  const target = event.target as Element
  const map = target.closest('svg.map')
  if (by === undefined || !map) return false
  const marks = [...map.querySelectorAll<SVGElement>('.mark')]
  const at = marks.findIndex(mark => mark === target)
  const next = at < 0 ? (by > 0 ? 0 : marks.length - 1) : at + by
  marks[(next + marks.length) % marks.length]?.focus()
  event.preventDefault()
  return true
}

/** A link to a line of the console: lines are no addresses of their own. */
export const goToLine = (event: MouseEvent): void => {
  const link = (event.target as Element).closest('a[data-line]')
  if (!link) return
  event.preventDefault()
  const id = `L${link.getAttribute('data-line') ?? ''}`
  // Several logs have the same numbers.
  const own = link.closest('article')?.querySelector(`[id="${id}"]`)
  const line = own ?? document.getElementById(id)
  if (!line) return
  const details = line.closest('details')
  if (details) details.open = true
  line.classList.add('told')
  line.setAttribute('tabindex', '-1')
  line.scrollIntoView({ block: 'center' })
  ;(line as HTMLElement).focus({ preventScroll: true })
}
