/** Requests for a port as bytes on a socket: what the front door's parser refuses, and that of what it takes the app sees exactly one request, of the host that was named. */

import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openPort } from '../bench/ports/portico.ts'
import type { Way } from '../bench/ports/way.ts'

describe('bytes sent to a port', () => {
  let folder: string
  let app: Server
  let way: Way
  let host: string
  let door: number
  /** What came to the app, a request each time. */
  let seen: string[] = []

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'portico-raw-'))
    app = createServer((socket) => {
      socket.on('error', () => socket.destroy())
      socket.on('data', (bytes: Buffer) => {
        seen.push(bytes.toString('latin1'))
        socket.end('HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 2\r\n\r\nok')
      })
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => app.once('listening', resolve))
    way = await openPort((app.address() as AddressInfo).port, folder)
    host = way.target.host ?? ''
    door = Number(new URL(way.target.url).port)
  }, 30_000)

  beforeEach(() => {
    seen = []
  })

  afterAll(async () => {
    await way?.[Symbol.asyncDispose]()
    app.close()
    await rm(folder, { recursive: true, force: true })
  })

  /** Sends the lines as one request that closes its connection, and answers all that came back. */
  function sent(lines: readonly string[], body = ''): Promise<string> {
    return new Promise((resolve, reject) => {
      let text = ''
      const socket = connect(door, '127.0.0.1')
      socket.on('data', (bytes: Buffer) => {
        text += bytes.toString('latin1')
      })
      socket.on('error', reject)
      socket.on('close', () => resolve(text))
      socket.end([...lines, 'Connection: close', '', body].join('\r\n'), 'latin1')
    })
  }

  test.each([
    ['an unknown transfer coding', ['Transfer-Encoding: xchunked', 'Content-Length: 3'], 'abc'],
    ['two lengths', ['Content-Length: 3', 'Content-Length: 4'], 'abcd'],
    ['a folded header', ['X-A: 1', ' Evil: 2'], ''],
    ['a space before the colon', ['X-A : 1'], ''],
    ['a bare CR in a value', ['X-A: 1\rEvil: 2'], ''],
  ])('with %s are refused', async (_name, headers, body) => {
    expect(await sent(['POST / HTTP/1.1', `Host: ${host}`, ...headers], body)).toMatch(/^HTTP\/1\.1 400 /)
    expect(seen).toEqual([])
  })

  test('with a length beside a transfer coding are one request, and what hides behind it is none', async () => {
    const hidden = `1\r\nx\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: ${host}\r\n\r\n`
    await sent(['POST / HTTP/1.1', `Host: ${host}`, 'Content-Length: 4', 'Transfer-Encoding: chunked'], hidden)
    expect(seen.join('').match(/HTTP\/1\.1/g)).toHaveLength(1)
    expect(seen.join('')).not.toMatch(/content-length|hidden/i)
  })

  test('go by the host, not by what the request line says', async () => {
    const own = `http://127.0.0.1:${door}/healthz`
    expect(await sent([`GET ${own} HTTP/1.1`, `Host: ${host}`])).toMatch(/\r\n\r\nok$/)
    expect(seen).toHaveLength(1)
    expect(await sent([`GET http://${host}/x HTTP/1.1`, `Host: 127.0.0.1:${door}`])).toMatch(/^HTTP\/1\.1 404 /)
    expect(await sent(['GET /healthz HTTP/1.1', `Host: 127.0.0.1`, `Host: ${host}`])).toMatch(/^HTTP\/1\.1 40\d /)
    expect(await sent(['GET /healthz HTTP/1.1', `Host: 127.0.0.1@${host}`])).toMatch(/^HTTP\/1\.1 40\d /)
    expect(seen).toHaveLength(1)
  })

  test('bring back each cookie in a line of its own, and HEAD its length without a body', async () => {
    const answer = await sent(['HEAD / HTTP/1.1', `Host: ${host}`])
    expect(answer).toMatch(/set-cookie: a=1\r\nset-cookie: b=2\r\n/i)
    expect(answer).toMatch(/content-length: 2\r\n/i)
    expect(answer).toMatch(/\r\n\r\n$/)
  })
})
