import type { ComponentChildren, JSX } from 'preact'
import { render } from 'preact-render-to-string'
import { STYLE } from './style.ts'

/** A program that is put into a page, and what lets the browser run it. */
export interface Script {
  readonly text: string
  /** Base64 of its SHA-256. */
  readonly sha256: string
}

export interface PageParts {
  readonly title: string
  readonly body: ComponentChildren
  /** Text of data blocks by their id; nothing runs them. */
  readonly data: ReadonlyMap<string, string>
  readonly script: Script
  /** Of the style, as of the script. */
  readonly styleSha256: string
}

/**
 * One HTML file that holds all it needs. It loads nothing and sends nothing,
 * and the browser runs the one script in it, whatever a console says: the
 * policy says so.
 */
export const htmlPage = (parts: PageParts): string =>
  `<!doctype html>\n${render(<Page {...parts} />)}\n`

/** What a browser may do with a page. */
const policyOf = ({ script, styleSha256 }: PageParts): string =>
  [
    "default-src 'none'",
    `script-src 'sha256-${script.sha256}'`,
    'worker-src blob:',
    `style-src 'sha256-${styleSha256}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ')

const Page = (parts: PageParts): JSX.Element => (
  <html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta http-equiv="Content-Security-Policy" content={policyOf(parts)} />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="referrer" content="no-referrer" />
      <title>{parts.title}</title>
      <style dangerouslySetInnerHTML={{ __html: STYLE }} />
    </head>
    <body>
      {parts.body}
      {[...parts.data].map(([id, text]) => (
        <script
          key={id}
          id={id}
          type="application/json"
          dangerouslySetInnerHTML={{ __html: inert(text) }}
        />
      ))}
      <script dangerouslySetInnerHTML={{ __html: parts.script.text }} />
    </body>
  </html>
)

/** JSON that cannot end the block it stands in. */
const inert = (json: string): string => json.replaceAll('<', '\\u003c')
