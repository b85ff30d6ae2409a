/**
 * Takes the pictures of `docs/console.md` on a platform of its own: `node --conditions portico-source tests/screenshots.ts`. In light, in dark, and at
 * phone width.
 */

import { join } from 'node:path'
import { root } from '@portico/deploy/checkout'
import type { Page } from 'playwright-core'
import { testBrowser } from './kit/browser.ts'
import { testPlatform } from './kit/platform.ts'

const views = {
  light: { viewport: { width: 1000, height: 640 }, colorScheme: 'light' },
  dark: { viewport: { width: 1000, height: 640 }, colorScheme: 'dark' },
  phone: { viewport: { width: 360, height: 740 }, colorScheme: 'light', deviceScaleFactor: 2 },
} as const

await using host = await testPlatform({ runnerSettings: [{ poolSize: 0 }] })
await using browser = await testBrowser()
const { portico, platform } = host
const shop = await portico.create({ image: 'python', name: 'shop' })
await shop.exec(
  'mkdir -p /srv && cd /srv && echo "<h1>Shop</h1>" >index.html && (setsid python3 -m http.server 8000 >/dev/null 2>&1 &)',
)
const idle = await portico.create({ image: 'python', name: 'night-shift' })
await idle.hibernate()

await terminalOf(await open('light'), 'python3 -c "import sys; print(sys.version)" && ls -la --color /srv')
for (const name of ['light', 'dark'] as const) {
  const page = await open(name)
  await page.getByRole('link', { name: 'shop' }).waitFor()
  // Two looks make a load.
  await page.getByText(/^[\d.]+ %$/).waitFor()
  await picture(page, `console-list-${name}`)
  await page.getByRole('link', { name: 'shop' }).click()
  await page.getByText('Connected').waitFor()
  await picture(page, `console-terminal-${name}`)
}
const page = await open('dark')
await page.goto(`${platform.url}/console/#/s/${shop.id}/ports`)
await page.getByRole('link', { name: /8000/ }).waitFor()
await picture(page, 'console-ports-dark')
await page.getByRole('link', { name: 'Usage' }).last().click()
await page.getByRole('img', { name: /^CPU.*now [\d.]+ %/ }).waitFor()
const working = shop.exec('for n in 1 2 3; do timeout 3 sh -c "while :; do :; done"; sleep 3; done')
await page.waitForFunction(() => document.querySelector('polyline')?.points.length === 10, undefined, {
  timeout: 60_000,
})
await picture(page, 'console-usage-dark')
await working
const phone = await open('phone')
await phone.getByText(/^[\d.]+ %$/).waitFor()
await picture(phone, 'console-phone-list')
await phone.getByRole('link', { name: 'shop' }).click()
await phone.getByText('Connected').waitFor()
await picture(phone, 'console-phone-terminal')

async function open(view: keyof typeof views): Promise<Page> {
  const tab = await browser.open(views[view])
  await tab.addInitScript((key) => sessionStorage.setItem('portico.key', key), platform.apiKey)
  await tab.goto(`${platform.url}/console/`)
  return tab
}

async function terminalOf(tab: Page, line: string): Promise<void> {
  await tab.getByRole('link', { name: 'shop' }).click()
  await tab.getByText('Connected').waitFor()
  await tab.locator('.xterm-helper-textarea').focus()
  await tab.keyboard.type(`${line}\n`)
  await tab.locator('.xterm-rows').getByText('index.html').first().waitFor()
  await tab.context().close()
}

async function picture(tab: Page, name: string): Promise<void> {
  await tab.screenshot({ path: join(root, 'docs', `${name}.png`), animations: 'disabled' })
}
