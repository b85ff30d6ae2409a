/** WebSockets of the wire server: scripted by the test, which takes each one when it arrives, sees what comes up and says what goes down. */

import type { Server } from 'node:http'
import { type WebSocket, WebSocketServer } from 'ws'

/** One socket, from the platform's side. */
export class WireSocket {
  readonly path: string
  readonly query: URLSearchParams
  /** What has come up: text, or bytes. */
  readonly received: (string | Buffer)[] = []
  readonly closed: Promise<void>
  readonly #socket: WebSocket
  #arrived: (() => void) | undefined

  constructor(url: URL, socket: WebSocket) {
    this.path = url.pathname
    this.query = url.searchParams
    this.#socket = socket
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()))
    socket.on('message', (data: Buffer, isBinary) => {
      this.received.push(isBinary ? data : data.toString())
      this.#arrived?.()
    })
  }

  say(event: object): void {
    this.#socket.send(JSON.stringify(event))
  }

  print(text: string): void {
    this.#socket.send(Buffer.from(text))
  }

  /** Resolves with the next message that fits, from the first one on. */
  async heard(fits: (message: string | Buffer) => boolean): Promise<string | Buffer> {
    for (let at = 0; ; at++) {
      while (at >= this.received.length)
        await new Promise<void>((resolve) => {
          this.#arrived = resolve
        })
      const message = this.received[at] ?? ''
      if (fits(message)) return message
    }
  }

  /** Answers every text from now on. */
  onMessage(answer: (text: string) => void): void {
    this.#socket.on('message', (data: Buffer, isBinary) => {
      if (!isBinary) answer(data.toString())
    })
  }

  /** As a network does it. */
  cut(): void {
    this.#socket.terminate()
  }

  close(code: number): void {
    this.#socket.close(code)
  }
}

export class WireSockets {
  readonly #server = new WebSocketServer({ noServer: true })
  readonly #here: WireSocket[] = []
  readonly #waiting: ((socket: WireSocket) => void)[] = []
  /** How many sockets are refused before one is let in. */
  refuse = 0

  constructor(server: Server, key: string) {
    server.on('upgrade', (request, socket, head) => {
      const url = new URL(request.url ?? '/', 'http://wire')
      const token = url.searchParams.get('token') ?? /^\/iii\/([^/]+)$/.exec(url.pathname)?.[1]
      if (this.refuse > 0 || (token !== key && token !== 'T')) {
        this.refuse--
        socket.end('HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n')
        return
      }
      this.#server.handleUpgrade(request, socket, head, (opened) => this.#add(new WireSocket(url, opened)))
    })
  }

  /** The next socket that is opened, or has been and was not taken. */
  next(): Promise<WireSocket> {
    const here = this.#here.shift()
    return here === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(here)
  }

  close(): void {
    for (const client of this.#server.clients) client.terminate()
  }

  #add(socket: WireSocket): void {
    const waiting = this.#waiting.shift()
    if (waiting) waiting(socket)
    else this.#here.push(socket)
  }
}
