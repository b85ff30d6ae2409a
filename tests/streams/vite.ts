/** A Vite development server in a guest, looked at by a real browser: a change of a file shows without a reload. */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { paths, root } from '@portico/deploy/checkout'
import type { Sandbox } from '@portico/sdk'
import { testBrowser } from '../kit/browser.ts'
import { PortClient } from '../kit/port-client.ts'
import { exactly, type Proof, told } from './proof.ts'

const port = 5173
const folder = '/root/app'
const files = {
  'package.json': '{"name":"app","private":true,"type":"module"}',
  'index.html':
    '<!doctype html><title>app</title><link rel="icon" href="data:,"><p id="said"></p><script type="module" src="/main.js"></script>',
  'main.js': [
    "import { said } from './said.js'",
    'const show = (text) => { document.querySelector("#said").textContent = text }',
    'show(said)',
    "import.meta.hot.accept('./said.js', (changed) => show(changed.said))",
  ].join('\n'),
  'said.js': "export const said = 'before'",
}

export const vite: Proof = {
  name: 'vite',
  async run({ test, say }) {
    await using sandbox = await test.portico.create({ image: 'node' })
    const mib = await uploadVite(sandbox)
    for (const [name, text] of Object.entries(files)) await sandbox.files.write(`${folder}/${name}`, text)
    say(`vite: ${mib} MiB are in the guest`)
    const start = performance.now()
    const serve = `node node_modules/vite/bin/vite.js --host 127.0.0.1 --port ${port} --strictPort`
    await sandbox.exec(`cd ${folder} && setsid ${serve} </dev/null >/root/vite.log 2>&1 &`)
    const client = new PortClient(test.platform, sandbox.id, port)
    await client.listening()
    const serving = performance.now() - start
    await using browser = await testBrowser()
    const page = await browser.open()
    await page.goto(client.url)
    const shows = (text: string) => page.locator('#said', { hasText: text }).waitFor({ timeout: 60_000 })
    await shows('before')
    await page.evaluate("globalThis.mark = 'same page'")
    const changed = performance.now()
    await sandbox.files.write(`${folder}/said.js`, "export const said = 'after'")
    await shows('after')
    const seen = performance.now() - changed
    return [
      exactly('the page shows', (await page.locator('#said').textContent()) ?? '', 'after'),
      exactly('without a reload', String(await page.evaluate('globalThis.mark')), 'same page'),
      exactly('complaints of the browser', browser.complaints.join('; '), ''),
      told('serving after', `${(serving / 1000).toFixed(1)} s`),
      told('a change is seen after', `${Math.round(seen)} ms`),
    ]
  },
}

/** Packs Vite and all it depends on as it is installed here, and unpacks it in the guest; answers how large that was. */
async function uploadVite(sandbox: Sandbox): Promise<number> {
  const work = await mkdtemp(join(paths.temporary, 'streams-'))
  try {
    const archive = join(work, 'vite.tar')
    const names = (await closure('vite')).map((name) => `node_modules/${name}`)
    await promisify(execFile)('tar', ['--create', '--file', archive, '--directory', root, ...names])
    const bytes = await readFile(archive)
    await sandbox.files.write('/root/vite.tar', bytes)
    const { exitCode, stderr } = await sandbox.exec(`mkdir -p ${folder} && tar -xf /root/vite.tar -C ${folder}`)
    if (exitCode !== 0) throw new Error(`cannot unpack Vite in the guest: ${stderr}`)
    return Math.round(bytes.length / 2 ** 20)
  } finally {
    await rm(work, { recursive: true })
  }
}

/** A package and those it depends on, as far as they are installed here. */
async function closure(name: string, found = new Set<string>()): Promise<string[]> {
  const manifest = join(root, 'node_modules', name, 'package.json')
  if (found.has(name) || !existsSync(manifest)) return [...found]
  found.add(name)
  const { dependencies = {}, optionalDependencies = {} } = JSON.parse(await readFile(manifest, 'utf8')) as {
    dependencies?: object
    optionalDependencies?: object
  }
  for (const each of Object.keys({ ...dependencies, ...optionalDependencies })) await closure(each, found)
  return [...found]
}
