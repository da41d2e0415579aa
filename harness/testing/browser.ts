import { type Browser, type Page, chromium } from 'playwright-core'
import type { Test } from 'tap'
import { findProgram } from '../base/paths.ts'

const CHROMIUM = await findProgram('chromium')

/** Why a test is skipped; false: it is not. */
export const noBrowser: string | false =
  CHROMIUM === undefined &&
  'there is no chromium in PATH; it is a Debian package'

/** A page in Debian's Chromium, and what it did that a report must not do. */
export interface OpenPage {
  readonly page: Page
  /** Addresses that it asked for, beside its own. */
  readonly requests: readonly string[]
  /** Errors of scripts, and dialogs that were opened. */
  readonly trouble: readonly string[]
}

/** How the page is looked at. */
export interface Look {
  readonly dark?: boolean
  readonly width?: number
}

/**
 * Starts the browser for a test, and ends it with the test.
 *
 * @returns how to open a page
 */
export const startBrowser = async (
  t: Test,
): Promise<(url: string, look?: Look) => Promise<OpenPage>> => {
  const browser = await chromium.launch({
    executablePath: CHROMIUM!,
    // Its sandbox refuses to run as root.
    chromiumSandbox: process.getuid?.() !== 0,
  })
  t.teardown(() => browser.close())
  return (url, look = {}) => openPage(browser, url, look)
}

const openPage = async (
  browser: Browser,
  url: string,
  { dark = false, width = 1280 }: Look,
): Promise<OpenPage> => {
  const context = await browser.newContext({
    colorScheme: dark ? 'dark' : 'light',
    viewport: { width, height: 900 },
  })
  const page = await context.newPage()
  const requests: string[] = []
  const trouble: string[] = []
  context.on('request', request => {
    const address = request.url()
    if (address !== url.replace(/#.*$/, '') && !address.startsWith('blob:'))
      requests.push(address)
  })
  page.on('pageerror', error => trouble.push(error.message))
  page.on('console', message => {
    if (message.type() === 'error') trouble.push(message.text())
  })
  page.on('dialog', dialog => {
    trouble.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  await page.goto(url)
  return { page, requests, trouble }
}
