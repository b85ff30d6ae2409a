/** The web page in a real browser, on a real platform with one sandbox: what a newcomer does with it, with a mouse, with a keyboard, and on a phone. */

import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { Locator, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestBrowser, testBrowser } from '../kit/browser.ts'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'

let host: TestPlatform
let browser: TestBrowser
/** Signed in, on the sandbox that all tests share. */
let page: Page
let run: string
/** Id of the console that the page opened. */
let terminal: string

const phone = { viewport: { width: 360, height: 740 } }

beforeAll(async () => {
  host = await testPlatform({ runnerSettings: [{ poolSize: 0 }] })
  browser = await testBrowser()
  page = await browser.open({ viewport: { width: 1100, height: 800 } })
  await page.goto(host.platform.url)
  await page.getByLabel('API key').fill(host.platform.apiKey)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('button', { name: 'New sandbox' }).click()
  await page.getByLabel('Name').fill('demo')
  await page.getByRole('button', { name: 'Create' }).click()
  await page.getByText('Connected').waitFor({ timeout: 120_000 })
  const [, ...ids] = /#\/s\/(\w+)\/terminal\/([^/?]+)/.exec(page.url()) ?? []
  run = ids[0] ?? ''
  terminal = ids[1] ?? ''
}, 180_000)

afterAll(async () => {
  await browser?.[Symbol.asyncDispose]()
  await host?.[Symbol.asyncDispose]()
})

/** A tab that is signed in already, at this place of the page. */
async function signedIn(hash: string, options?: Parameters<TestBrowser['open']>[0]): Promise<Page> {
  const tab = await browser.open(options)
  await tab.addInitScript((key) => sessionStorage.setItem('portico.key', key), host.platform.apiKey)
  await tab.goto(`${host.platform.url}/console/${hash}`)
  return tab
}

const textOf = async (place: Locator) => (await place.textContent()) ?? ''
const screen = (tab: Page) => tab.locator('.xterm-rows')
const shows = (tab: Page, text: string | RegExp) => screen(tab).getByText(text).first().waitFor()

async function types(tab: Page, line: string): Promise<void> {
  await tab.locator('.xterm-helper-textarea').focus()
  await tab.keyboard.type(`${line}\n`)
}

describe('a terminal', () => {
  it('shows what a command prints, and shows it again after a reload, once', async () => {
    await types(page, 'echo $((6*7))-apples')
    await shows(page, '42-apples')
    await page.reload()
    await page.getByText('Connected').waitFor()
    await shows(page, '42-apples')
    expect((await textOf(screen(page))).match(/42-apples/g)).toHaveLength(1)
  })

  it('is the same for two who look at it, and both type', async () => {
    const other = await signedIn(`#/s/${run}/terminal/${terminal}`)
    await shows(other, '42-apples')
    await types(other, 'echo from-the-$((1+1))nd')
    await shows(page, 'from-the-2nd')
    await types(page, 'echo from-the-$((0+1))st')
    await shows(other, 'from-the-1st')
    await other.context().close()
  })

  it('can be looked at by a link that lets nobody type', async () => {
    await page.getByRole('button', { name: 'Link to look' }).click()
    const link = await page.getByLabel('Link to look').inputValue()
    const reader = await browser.open()
    await reader.goto(link)
    await reader.getByText('Read-only').waitFor()
    await shows(reader, '42-apples')
    await types(reader, 'echo never-$((1+1))')
    await types(page, 'echo after-$((1+1))')
    await shows(reader, 'after-2')
    expect(await textOf(screen(reader))).not.toContain('never')
    expect(await reader.evaluate(() => sessionStorage.length)).toBe(0)
    await reader.context().close()
  })

  it('goes on where it was after the front door was gone', async () => {
    await host.platform.killFrontDoor()
    await page.getByText('trying again').waitFor()
    await host.platform.restartFrontDoor()
    await page.getByText('Connected').waitFor()
    await types(page, 'echo again-$((1+1))')
    await shows(page, 'again-2')
    expect((await textOf(screen(page))).match(/42-apples/g)).toHaveLength(1)
  })
})

describe('files', () => {
  it('go in and come out as they were', async () => {
    const content = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 31) % 256))
    await page.getByRole('link', { name: 'Files' }).click()
    await page
      .getByLabel('Files to upload')
      .setInputFiles({ name: 'load.bin', mimeType: 'application/octet-stream', buffer: content })
    await page.getByText('done, 293 KiB').waitFor()
    const download = page.waitForEvent('download')
    await page.getByRole('button', { name: 'load.bin' }).click()
    const file = await download
    expect(file.suggestedFilename()).toBe('load.bin')
    expect((await readFile(await file.path())).equals(content)).toBe(true)
  })

  it('of a folder that is not there are one line that says so', async () => {
    await page.getByLabel('Path').fill('/nowhere')
    await page.getByRole('button', { name: 'Go' }).click()
    const said = page.getByRole('region', { name: 'Files', exact: true }).getByRole('alert')
    await expect.poll(() => textOf(said)).toMatch(/^cannot .*\/nowhere/)
  })
})

describe('the other tabs', () => {
  it('show the port of a server with its URL', async () => {
    await host.call(`/v1/runs/${run}/exec`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ command: 'cd /tmp && (setsid python3 -m http.server 8123 >/dev/null 2>&1 &)' }),
    })
    await page.getByRole('link', { name: 'Ports' }).click()
    const url = page.getByRole('link', { name: /^http.*8123/ })
    await url.waitFor()
    await page.getByLabel('Open to').selectOption('key')
    await expect
      .poll(async () => (await (await host.call(`/v1/runs/${run}/ports/8123`)).json()) as object)
      .toMatchObject({ access: 'key' })
  })

  it('plot the usage and list what happened', async () => {
    await page.getByRole('link', { name: 'Usage' }).last().click()
    await page.getByRole('img', { name: /^CPU.*now [\d.]+ %/ }).waitFor()
    await page.getByRole('link', { name: 'Audit' }).click()
    await page.getByRole('cell', { name: 'sandbox.created' }).waitFor()
    await page.getByRole('cell', { name: 'file.uploaded' }).waitFor()
  })
})

describe('with a keyboard alone', () => {
  it('leads from signing in to a terminal, out of it again, and out of a dialog', async () => {
    const tab = await browser.open()
    await tab.goto(`${host.platform.url}/console/`)
    // The page puts the focus there by itself, a moment after it has loaded.
    await tab.locator('input:focus').waitFor()
    await tab.keyboard.type(host.platform.apiKey)
    await tab.keyboard.press('Enter')
    await tab.getByRole('link', { name: 'demo' }).waitFor()
    await tabTo(tab, 'demo')
    await tab.keyboard.press('Enter')
    await tab.getByText('Connected').waitFor()
    await tab.locator('textarea:focus').waitFor()
    await tab.keyboard.type('echo by-$((3+4))-keys\n')
    await shows(tab, 'by-7-keys')
    await tab.keyboard.press('Control+F6')
    expect(await focused(tab)).toContain('Console')
    await tabTo(tab, 'Destroy', 'Shift+Tab')
    await tab.keyboard.press('Enter')
    await tab.getByRole('dialog').waitFor()
    await tab.keyboard.press('Escape')
    await tab.getByRole('dialog').waitFor({ state: 'hidden' })
    expect(await focused(tab)).toBe('Destroy')
    await tab.context().close()
  })
})

describe('anywhere', () => {
  const places = () => [
    '#/',
    '#/usage',
    `#/s/${run}/terminal/${terminal}`,
    ...['files', 'ports', 'usage', 'audit'].map((tab) => `#/s/${run}/${tab}`),
  ]

  it.each(['light', 'dark'] as const)(
    'is at phone width without scrolling sideways, and accessible, in %s',
    async (colorScheme) => {
      const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
      const tab = await signedIn('#/', { ...phone, colorScheme })
      await tab.evaluate(axe)
      for (const place of places()) {
        await tab.goto(`${host.platform.url}/console/${place}`)
        await tab.getByRole('heading', { level: 1 }).waitFor()
        await tab.waitForLoadState('networkidle')
        expect(await tab.evaluate(() => document.documentElement.scrollWidth), place).toBeLessThanOrEqual(360)
        expect(await tab.evaluate(violations), place).toEqual([])
      }
      await tab.context().close()
    },
  )

  it('shows a wrong key as one line, and keeps none after signing out', async () => {
    const tab = await browser.open()
    await tab.goto(`${host.platform.url}/console/`)
    await tab.getByLabel('API key').fill('wrong')
    await tab.keyboard.press('Enter')
    await expect.poll(() => textOf(tab.getByRole('alert'))).toContain('the API key is wrong or revoked')
    await tab.getByLabel('API key').fill(host.platform.apiKey)
    await tab.keyboard.press('Enter')
    await tab.getByRole('button', { name: 'Sign out' }).click()
    await tab.getByLabel('API key').waitFor()
    expect(await tab.evaluate(() => sessionStorage.length + localStorage.length + document.cookie.length)).toBe(0)
    await tab.context().close()
  })
})

describe('a sandbox', () => {
  it('sleeps, wakes, and goes, each after a question', async () => {
    await page.goto(`${host.platform.url}/console/#/s/${run}/usage`)
    const state = page.locator('.state')
    for (const [action, then] of [
      ['Hibernate', 'hibernated'],
      ['Resume', 'running'],
    ] as const) {
      await page.getByRole('button', { name: action }).click()
      await page.getByRole('dialog').getByRole('button', { name: action }).click()
      await state.getByText(then, { exact: true }).waitFor()
    }
    await page.getByRole('button', { name: 'Destroy' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
    await state.getByText('running', { exact: true }).waitFor()
    await page.getByRole('button', { name: 'Destroy' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Destroy' }).click()
    await page.getByText('There is no sandbox').waitFor()
  })

  it('that is over is counted', async () => {
    await page.getByRole('link', { name: 'Usage' }).click()
    await page.getByRole('cell', { name: 'demo' }).waitFor()
  })
})

describe('after all that, the page', () => {
  it('neither broke its policy nor threw', () => {
    // Calls that were answered no, or found no front door, as some tests want it: the browser says so by itself.
    const asked = /status of 40[134]|net::ERR_CONNECTION|WebSocket connection to/
    expect(browser.complaints.filter((one) => !asked.test(one))).toEqual([])
  })
})

/** What axe finds wrong; runs in the page. */
async function violations(): Promise<string[]> {
  const { axe } = globalThis as unknown as { axe: { run(place: Document, options: object): Promise<Found> } }
  const only = { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }
  const found = await axe.run(document, { runOnly: only, resultTypes: ['violations'] })
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
}
interface Found {
  readonly violations: readonly { readonly id: string; readonly nodes: readonly { readonly html: string }[] }[]
}

/** Goes from one thing to the next until the one of this name has the focus. */
async function tabTo(tab: Page, name: string, key = 'Tab'): Promise<void> {
  for (let presses = 0; presses < 40; presses++) {
    await tab.keyboard.press(key)
    if ((await focused(tab)) === name) return
  }
  throw new Error(`${name} cannot be reached with ${key}`)
}

/** What the thing with the focus says. */
async function focused(tab: Page): Promise<string> {
  return await tab.evaluate(() => {
    const element = document.activeElement
    const label = element instanceof HTMLSelectElement ? element.labels?.[0] : element
    return (label?.textContent ?? '').trim()
  })
}
