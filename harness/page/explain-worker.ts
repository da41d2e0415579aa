import { h } from 'preact'
import { render } from 'preact-render-to-string'
import { ConsoleReader } from '../console/reader.ts'
import { explainedBoots } from './explained-boots.ts'
import { SHOWN_LOG } from '../report/explain-boot.ts'
import { ExplainView } from '../report/html/explain-view.tsx'

/** What the page asks for: a file, or pasted text as one. */
export interface Asked {
  readonly file: Blob
  readonly name: string
}

/** What the worker says, several times and then for the last time. */
export type Told =
  | { readonly kind: 'read'; readonly bytes: number }
  | { readonly kind: 'explained'; readonly html: string }
  | { readonly kind: 'failed'; readonly message: string }

export const startWorker = (): void => {
  addEventListener('message', ({ data }: MessageEvent<Asked>) => {
    explain(data).then(tell, (error: unknown) => {
      tell({
        kind: 'failed',
        message: error instanceof Error ? error.message : String(error),
      })
    })
  })
}

const tell = (told: Told): void => {
  postMessage(told)
}

const explain = async ({ file, name }: Asked): Promise<Told> => {
  const reader = new ConsoleReader({ pasted: true })
  const kept: Uint8Array[] = []
  let bytes = 0
  let told = 0
  for await (const chunk of chunksOf(await unpacked(file))) {
    reader.push(chunk)
    bytes += chunk.length
    if (bytes <= SHOWN_LOG) kept.push(chunk)
    if (bytes - told > SHOWN_LOG) tell({ kind: 'read', bytes: (told = bytes) })
  }
  reader.end()
  const text =
    bytes <= SHOWN_LOG ? await new Blob(kept as BlobPart[]).text() : null
  const html = explainedBoots(
    { file: name, boots: reader.boots(), forgotten: reader.forgotten },
    text,
  )
    .map(boot => render(h(ExplainView, boot)))
    .join('')
  return { kind: 'explained', html }
}

/** gzip is what browsers unpack. */
const unpacked = async (file: Blob): Promise<ReadableStream<Uint8Array>> => {
  const head = new Uint8Array(await file.slice(0, 6).arrayBuffer())
  const begins = (...bytes: number[]): boolean =>
    bytes.every((byte, i) => head[i] === byte)
  if (begins(0x1f, 0x8b))
    return file.stream().pipeThrough(new DecompressionStream('gzip'))
  if (begins(0xfd, 0x37, 0x7a, 0x58, 0x5a) || begins(0x28, 0xb5, 0x2f, 0xfd))
    throw new Error(
      'the file is packed with xz or zstd, which a browser cannot unpack: unpack it first',
    )
  return file.stream()
}

async function* chunksOf(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    yield value
  }
}
