/**
 * A client of a port in a sandbox by its public URL. The URL's name leads nowhere but to this machine, so it goes into `Host` and the connection to
 * loopback; `curl` and a browser know such names themselves.
 */

import { createHash, type Hash } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { WebSocket } from 'ws'

export interface PortAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface PortAsk {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array | Readable
}

export class PortClient {
  /** The public URL, without a slash at its end. */
  readonly url: string
  readonly #host: string
  readonly #door: number

  /** `platform` is what serves it. */
  constructor(
    platform: { readonly appDomain: string; readonly frontDoor: { readonly port: number } },
    id: string,
    port: number,
  ) {
    this.#host = `${port}-${id}.${platform.appDomain}`
    this.#door = platform.frontDoor.port
    this.url = `http://${this.#host}`
  }

  /** Asks, and answers once the head of the answer is here. */
  async open(path: string, { method = 'GET', headers = {}, body }: PortAsk = {}): Promise<IncomingMessage> {
    const to = {
      host: '127.0.0.1',
      port: this.#door,
      agent: false,
      path,
      method,
      headers: { host: this.#host, ...headers },
    }
    const asking = request(to)
    const answered = once(asking, 'response') as Promise<[IncomingMessage]>
    if (body instanceof Readable) await Promise.all([pipeline(body, asking), answered])
    else asking.end(body)
    const [answer] = await answered
    return answer
  }

  async ask(path: string, ask: PortAsk = {}): Promise<PortAnswer> {
    const answer = await this.open(path, ask)
    return { status: answer.statusCode ?? 0, headers: answer.headers, body: await buffer(answer) }
  }

  async text(path: string, ask: PortAsk = {}): Promise<string> {
    return (await this.ask(path, ask)).body.toString()
  }

  /** A WebSocket that is open. */
  async socket(
    path: string,
    protocols: readonly string[] = [],
    headers: Readonly<Record<string, string>> = {},
  ): Promise<WebSocket> {
    const socket = new WebSocket(`ws://127.0.0.1:${this.#door}${path}`, [...protocols], {
      headers: { host: this.#host, ...headers },
      perMessageDeflate: false,
    })
    await once(socket, 'open')
    return socket
  }

  /** Resolves once a server in the sandbox answers on the port. */
  async listening(path = '/'): Promise<void> {
    const limit = AbortSignal.timeout(60_000)
    for (;;) {
      const { status } = await this.ask(path)
      if (status !== 502 && status !== 503) return
      await wait(100, undefined, { signal: limit })
    }
  }
}

/** SHA-256 in hexadecimal of pieces that come one after the other. */
export class Digest {
  readonly #hash: Hash = createHash('sha256')
  bytes = 0

  add(piece: Uint8Array | string): this {
    this.#hash.update(piece)
    this.bytes += piece.length
    return this
  }

  get hex(): string {
    return this.#hash.copy().digest('hex')
  }
}
