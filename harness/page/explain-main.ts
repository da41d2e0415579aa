import type { Asked, Told } from './explain-worker.ts'
import { goToLine, moveInPicture } from './keys.ts'

/** What the page itself does: it takes logs and shows what is told of them. */

const element = (id: string): HTMLElement => document.getElementById(id)!

/** @param source the text of this script, to start it as a worker */
export const startPage = (source: string): void => {
  const url = URL.createObjectURL(
    new Blob([source], { type: 'text/javascript' }),
  )
  let worker: Worker | undefined
  const ask = (asked: Asked): void => {
    // A log that is still being read is given up.
    worker?.terminate()
    worker = new Worker(url)
    state(`reading ${asked.name}`)
    worker.addEventListener('message', ({ data }: MessageEvent<Told>) => {
      show(data, asked)
    })
    worker.addEventListener('error', ({ message }) => {
      state(`the log could not be read: ${message}`)
    })
    worker.postMessage(asked)
  }
  const box = element('text') as HTMLTextAreaElement
  const paste = (): void => {
    if (box.value.trim() !== '')
      ask({ file: new Blob([box.value]), name: 'pasted text' })
  }
  element('explain').addEventListener('click', paste)
  box.addEventListener('paste', () => {
    setTimeout(paste)
  })
  element('file').addEventListener('change', event => {
    const [file] = (event.target as HTMLInputElement).files ?? []
    if (file) ask({ file, name: file.name })
  })
  takeDrops(ask)
  document.addEventListener('click', onClick)
  document.addEventListener('keydown', moveInPicture)
  element('entry').hidden = false
}

const state = (text: string): void => {
  element('state').textContent = text
}

const show = (told: Told, { name, file }: Asked): void => {
  if (told.kind === 'read')
    state(
      `reading ${name}: ${Math.floor((100 * told.bytes) / Math.max(1, file.size, told.bytes))}%`,
    )
  else if (told.kind === 'failed') state(told.message)
  else {
    state('')
    // Made by the same components as everything here: they escape text.
    element('explained').innerHTML = told.html
  }
}

const takeDrops = (ask: (asked: Asked) => void): void => {
  const entry = element('entry')
  const over = (event: DragEvent, isOver: boolean): void => {
    event.preventDefault()
    entry.classList.toggle('over', isOver)
  }
  addEventListener('dragover', event => {
    over(event, true)
  })
  addEventListener('dragleave', event => {
    over(event, false)
  })
  addEventListener('drop', event => {
    over(event, false)
    const [file] = event.dataTransfer?.files ?? []
    const text = event.dataTransfer?.getData('text/plain') ?? ''
    if (file) ask({ file, name: file.name })
    else if (text !== '') ask({ file: new Blob([text]), name: 'dropped text' })
  })
}

const onClick = (event: MouseEvent): void => {
  goToLine(event)
  const button = (event.target as Element).closest('[data-download]')
  if (button) download(button)
}

/** The text beside a button, as a file. */
const download = (button: Element): void => {
  const text =
    button.closest('details')?.querySelector('pre')?.textContent ?? ''
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/yaml' }))
  link.download = button.getAttribute('data-download') ?? 'scenario.yaml'
  link.click()
  URL.revokeObjectURL(link.href)
}
