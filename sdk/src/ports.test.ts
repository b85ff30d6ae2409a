import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WireServer } from '../test/wire-server.ts'
import { Portico, type Sandbox } from './index.ts'

let wire: WireServer
let portico: Portico
let sandbox: Sandbox

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: `${wire.url}/`, apiKey: wire.apiKey })
  sandbox = await portico.create({ image: 'python' })
})

afterEach(async () => {
  await portico.close()
  await wire.close()
})

function servePorts(): void {
  const stored = wire.sandboxes.get(sandbox.id)
  if (stored) stored.record = { ...stored.record, url_template: `http://{port}-${sandbox.id}.app.test:8787` }
}

describe('the URL of a port', () => {
  it('is the public one, with the path that is wanted', async () => {
    servePorts()
    await sandbox.info()
    expect(sandbox.url(3000)).toBe(`http://3000-${sandbox.id}.app.test:8787/`)
    expect(sandbox.url(3000, 'a/b?c=d')).toBe(`http://3000-${sandbox.id}.app.test:8787/a/b?c=d`)
    expect(sandbox.url(1, '/x')).toBe(`http://1-${sandbox.id}.app.test:8787/x`)
  })

  it('is that behind the key where the platform serves none, or on demand', () => {
    const proxied = `${wire.url}/v1/runs/${sandbox.id}/proxy/65535/x`
    expect(sandbox.url(65_535, '/x')).toBe(proxied)
    expect(sandbox.proxyUrl(65_535, 'x')).toBe(proxied)
  })

  it.each([0, 65_536, -1, 1.5, Number.NaN])('is none for %d', async (port) => {
    expect(() => sandbox.url(port)).toThrow(RangeError)
    expect(() => sandbox.proxyUrl(port)).toThrow(RangeError)
    await expect(sandbox.ports.get(port)).rejects.toThrow(RangeError)
  })
})

describe('ports', () => {
  it('are listed with what listens and what was set', async () => {
    servePorts()
    wire.ports.listening.set(8000, { address: '127.0.0.1', pid: 7, command: 'python3' })
    expect(await sandbox.ports.set(9000, { access: 'signed', host: 'localhost' })).toMatchObject({ access: 'signed' })
    expect(await sandbox.ports.list()).toEqual([
      {
        port: 8000,
        access: 'url',
        host: 'public',
        url: `http://8000-${sandbox.id}.app.test:8787`,
        proxyUrl: expect.stringContaining('/proxy/8000/'),
        listening: true,
        address: '127.0.0.1',
        pid: 7,
        command: 'python3',
      },
      expect.objectContaining({ port: 9000, access: 'signed', host: 'localhost', listening: false, pid: undefined }),
    ])
    expect(await sandbox.ports.get(8000)).toMatchObject({ listening: true })
  })

  it('are opened by links that expire', async () => {
    const { url, expiresAt } = await sandbox.ports.link(8000, { path: '/report', expiresInSec: 60 })
    expect(url).toContain('.app.test/report?portico_signature=')
    expect(expiresAt).toEqual(new Date('2026-01-01T00:01:00Z'))
  })
})
