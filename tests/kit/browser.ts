/**
 * A real Chromium for a test, as the host's package has it. Whatever a page complains of is kept, so that a test can say that there was nothing: errors
 * of scripts, and what the page's policy refused.
 */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import { type BrowserContextOptions, chromium, type Page } from 'playwright-core'

export interface TestBrowser {
  /** What pages complained of so far. */
  readonly complaints: string[]
  /** A tab in a session of its own, with nothing of other tabs. */
  open(options?: BrowserContextOptions): Promise<Page>
  [Symbol.asyncDispose](): Promise<void>
}

const limitMs = 20_000
/** What else Chromium would ask its maker's hosts for. */
const quiet = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-quic',
  '--no-first-run',
]

export async function testBrowser(): Promise<TestBrowser> {
  await mkdir(paths.temporary, { recursive: true })
  const downloads = await mkdtemp(join(paths.temporary, 'browser-'))
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', ...quiet],
    downloadsPath: downloads,
  })
  const complaints: string[] = []
  return {
    complaints,
    async open(options = {}) {
      const context = await browser.newContext(options)
      context.setDefaultTimeout(limitMs)
      const page = await context.newPage()
      page.on('pageerror', (error) => complaints.push(String(error)))
      page.on('console', (message) => {
        if (message.type() === 'error' || /Content Security Policy/i.test(message.text()))
          complaints.push(message.text())
      })
      return page
    },
    async [Symbol.asyncDispose]() {
      await browser.close()
      await rm(downloads, { recursive: true, force: true })
    },
  }
}
