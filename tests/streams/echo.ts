/** 10,000 WebSocket messages of mixed size through a port and back, by the npm package `ws`. */

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { WebSocket } from 'ws'
import { Digest } from '../kit/port-client.ts'
import { startApp } from './app.ts'
import { exactly, type Finding, type Proof, told } from './proof.ts'

const count = 10_000
const aheadBytes = 8 << 20

export const echo: Proof = {
  name: 'echo',
  async run({ test }) {
    await using sandbox = await test.portico.create({ image: 'python' })
    const client = await startApp(test.platform, sandbox)
    const socket = await client.socket('/echo', ['one', 'two'])
    const { sent, back, ms } = await echoes(socket, count)
    const pinged = once(socket, 'pong')
    socket.ping('are you there')
    await pinged
    const closed = once(socket, 'close') as Promise<[number, Buffer]>
    socket.send('close 4123 so long')
    const [code, reason] = await closed
    const findings: Finding[] = [
      exactly('bytes that came back', back.bytes, sent.bytes),
      exactly('SHA-256 of all of them in order', back.hex.slice(0, 16), sent.hex.slice(0, 16)),
      exactly('sub-protocol', socket.protocol, 'two'),
      exactly('close from the app', `${code} ${reason}`, '4123 so long'),
      told(
        'rate',
        `${Math.round((count / ms) * 1000)} messages/s, ${(sent.bytes / ms / 1000).toFixed(1)} MB/s each way`,
      ),
    ]
    return findings
  },
}

/**
 * Sends so many messages, text and binary, from none to 256 KiB, and takes them back; both are hashed with their kinds and lengths. It stays no more than
 * 8 MiB ahead of the echo, as the platform closes a socket with 1013 when more than 32 MiB wait for its server.
 */
export async function echoes(socket: WebSocket, total: number): Promise<{ sent: Digest; back: Digest; ms: number }> {
  const [sent, back] = [new Digest(), new Digest()]
  const source = randomBytes(1 << 18)
  const start = performance.now()
  let [next, arrived] = [0, 0]
  await new Promise<void>((resolve, reject) => {
    const send = () => {
      for (; next < total && sent.bytes - back.bytes < aheadBytes; next++) {
        const part = source.subarray(0, sizeOf(next))
        const isBinary = next % 3 !== 0
        const bytes = isBinary ? part : Buffer.from(part.toString('hex').slice(0, part.length))
        sent.add(`${isBinary} ${bytes.length};`).add(bytes)
        socket.send(bytes, { binary: isBinary })
      }
    }
    socket.on('close', (code: number) => reject(new Error(`closed with ${code} after ${arrived} messages`)))
    socket.on('message', (message: Buffer, isBinary: boolean) => {
      back.add(`${isBinary} ${message.length};`).add(message)
      if (++arrived === total) resolve()
      else send()
    })
    send()
  })
  return { sent, back, ms: performance.now() - start }
}

/** Mostly small, one in a hundred large, and the lengths at which frames change their form. */
function sizeOf(n: number): number {
  const edges = [0, 1, 125, 126, 127, 65_535, 65_536]
  if (n % 100 === 99) return (n * 7919) % (1 << 18)
  return n % 50 < edges.length ? (edges[n % 50] as number) : (n * 31) % 2000
}
