/** The ports of a fake guest: those of this host, so that a server of a test or a measurement is reached as one in a guest would be. */

import { readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { AppError, type WireError } from '@portico/shared/errors'

export interface ListeningPort {
  readonly port: number
  readonly address: string
}

/** Joins `link` to what listens on 127.0.0.1, each direction with its own end; `head` is what came behind the request. */
export function forwardTcp(port: number, link: Duplex, head: Buffer): void {
  const server = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true })
  const closed = { code: 'port_closed', message: `cannot reach port ${port}: nothing listens on it` } as const
  const onRefused = () => refuseUpgrade(link, 502, closed)
  server.once('error', onRefused)
  server.once('connect', () => {
    server.off('error', onRefused)
    server.on('error', (cause) => {
      link.destroy(new AppError('guest_error', 'cannot go on: the server broke the connection off', { cause }))
    })
    link.once('close', () => (link.errored || !server.writableEnded ? server.resetAndDestroy() : undefined))
    link.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: portico-tcp\r\n\r\n')
    if (head.length > 0) server.write(head)
    server.pipe(link)
    link.pipe(server)
  })
}

/** What listens on this host by its kernel's tables; who does is not looked up. */
export async function listeningPorts(): Promise<ListeningPort[]> {
  const tables = ['/proc/net/tcp', '/proc/net/tcp6'].map((path) => readFile(path, 'utf8').catch(() => ''))
  const lines = (await Promise.all(tables)).flatMap((text) => text.split('\n'))
  const found = new Map<number, ListeningPort>()
  for (const line of lines) {
    const [, local = '', , state] = line.trim().split(/\s+/)
    const [address = '', port = ''] = local.split(':')
    const number = Number.parseInt(port, 16)
    if (state !== listening || found.has(number)) continue
    found.set(number, { port: number, address: addressOf(address) })
  }
  return [...found.values()].sort((one, other) => one.port - other.port)
}

const listening = '0A'

/** The kernel writes words as the processor does. */
function addressOf(hex: string): string {
  if (hex.length === 8) return [6, 4, 2, 0].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join('.')
  if (/^0+$/.test(hex)) return '::'
  return hex === '00000000000000000000000001000000' ? '::1' : hex.toLowerCase()
}

export function refuseUpgrade(link: Duplex, status: number, error: WireError): void {
  const body = JSON.stringify({ error })
  const head = `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n`
  link.end(head + body)
}
