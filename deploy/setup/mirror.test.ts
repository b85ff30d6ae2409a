import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CheckoutCopy } from './checkout-copy.ts'

const oneLine = `deb [signed-by=/x.gpg] http://one.example/debian/ CODENAME main contrib
deb http://one.example/debian-security CODENAME-security main
deb https://vendor.example/apt stable tools
`
const deb822 = `Types: deb deb-src
URIs: https://two.example/debian
Suites: CODENAME CODENAME-updates
Components: main
`

test('the mirrors are those of the apt sources, in both formats, without security and vendor archives', async () => {
  await using copy = await sources({ 'sources.list': oneLine, 'sources.list.d/debian.sources': deb822 })
  expect(await copy.evaluate('host_mirrors', 'mirror.sh')).toBe(
    'http://one.example/debian\nhttps://two.example/debian\n',
  )
})

test('a mirror list in a file is read', async () => {
  await using copy = await sources({ mirrors: 'http://listed.example/debian priority:1\n' })
  await copy.write(
    'apt/sources.list',
    `deb mirror+file:${join(copy.root, 'apt', 'mirrors')} ${await codename(copy)} main\n`,
  )
  expect(await copy.evaluate('host_mirrors', 'mirror.sh')).toBe('http://listed.example/debian\n')
})

test('the mirror that serves the suite is chosen, with the date of its release', async () => {
  await using served = await serve({ '/new/debian/dists/trixie/InRelease': release('Debian') })
  await using copy = await sources({
    'sources.list': `deb ${served.url}/old/debian CODENAME main\ndeb ${served.url}/new/debian CODENAME main\n`,
  })
  expect(await choose(copy)).toMatch(`${served.url}/new/debian 1757152800\n`)
})

test('an archive that is not Debian does not pass for a mirror, and the message says what to set', async () => {
  await using served = await serve({ '/vendor/dists/trixie/InRelease': release('Vendor') })
  await using copy = await sources({})
  copy.environment.PORTICO_DEBIAN_MIRROR = `${served.url.replace('//', '//user:secret@')}/vendor`
  const said = await choose(copy)
  expect(said).toContain('cannot find a Debian mirror that serves the suite trixie')
  expect(said).toContain('Set PORTICO_DEBIAN_MIRROR')
  expect(said).not.toContain('Tried: http://user:secret')
})

/** A copy in which apt knows only these sources; CODENAME stands for the host's suite. */
async function sources(files: Readonly<Record<string, string>>): Promise<CheckoutCopy> {
  const copy = await CheckoutCopy.make()
  const suite = await codename(copy)
  for (const [name, text] of Object.entries(files)) await copy.write(`apt/${name}`, text.replaceAll('CODENAME', suite))
  const etc = join(copy.root, 'apt')
  await copy.write('apt/sources.list.d/.keep', '')
  copy.environment.APT_CONFIG = await copy.write(
    'apt/apt.conf',
    `Dir::Etc::sourcelist "${etc}/sources.list"; Dir::Etc::sourceparts "${etc}/sources.list.d"; Acquire::Retries "0";`,
  )
  return copy
}

async function codename(copy: CheckoutCopy): Promise<string> {
  return (await copy.evaluate('. /etc/os-release; echo "$VERSION_CODENAME"')).trim()
}

/** What choose_mirror writes, or else what it says. */
async function choose(copy: CheckoutCopy): Promise<string> {
  return await copy.evaluate(
    'mkdir -p "$scratch"; choose_mirror "$scratch/mirror" 2>&1 && cat "$scratch/mirror" || true',
    'mirror.sh',
  )
}

function release(origin: string): string {
  return `-----BEGIN PGP SIGNED MESSAGE-----\n\nOrigin: ${origin}\nLabel: Debian\nCodename: trixie\nDate: Sat, 06 Sep 2025 10:00:00 UTC\n`
}

async function serve(pages: Readonly<Record<string, string>>): Promise<AsyncDisposable & { url: string }> {
  const server = createServer((request, response) => {
    const page = pages[request.url ?? '']
    response.writeHead(page === undefined ? 404 : 200).end(page)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.close()
      await once(server, 'close')
    },
  }
}
