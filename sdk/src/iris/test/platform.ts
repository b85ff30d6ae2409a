/** A gateway and the data planes of its sandboxes on one port of this machine, for the tests beside it: tells by the host which of them is meant, and notes every request. */

import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export const apiKey = 'iris_sk_test'
export const runId = `run${'a'.repeat(26)}`

export interface Seen {
  /** Of the data plane or the gateway. */
  readonly plane: boolean
  /** Method, path and query. */
  readonly line: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface Reply {
  readonly status?: number
  readonly json?: unknown
  readonly text?: string
}

export class TestPlatform {
  readonly seen: Seen[] = []
  /** How long the tokens live that it gives out. */
  tokenMs = 3_600_000
  /** What a call is answered with instead of what is usual. */
  answer: (seen: Seen) => Reply | undefined | Promise<Reply | undefined> = () => undefined
  readonly #server: Server
  #tokens = 0

  static async open(): Promise<TestPlatform> {
    const platform = new TestPlatform()
    await new Promise<void>((resolve) => platform.#server.listen(0, '127.0.0.1', resolve))
    return platform
  }

  constructor() {
    this.#server = createServer((request, response) => {
      const parts: Buffer[] = []
      request.on('data', (part: Buffer) => parts.push(part))
      request.on('end', async () => {
        const { headers, method, url } = request
        const plane = headers.host === this.domain
        const seen = { plane, line: `${method} ${url}`, headers, body: Buffer.concat(parts).toString() }
        this.seen.push(seen)
        const reply = (await this.answer(seen)) ?? this.#usual(seen)
        response.statusCode = reply.status ?? 200
        response.end(reply.text ?? JSON.stringify(reply.json ?? {}))
      })
    })
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  get domain(): string {
    return `${runId}.sandbox.localhost:${this.#port}`
  }

  /** The requests to the sandbox's own host. */
  get planned(): Seen[] {
    return this.seen.filter(({ plane }) => plane)
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  get #port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  #usual({ plane, line }: Seen): Reply {
    const sandbox = { id: 'sb_a', name: 'n', domain: this.domain, state: 'running', created_at: '2026-01-01T00:00:00Z' }
    if (plane) return { json: { ok: true } }
    if (line.endsWith('/ListSandboxes')) return { json: { sandboxes: [sandbox] } }
    if (line.endsWith('/IssueDataPlaneToken')) return { json: this.#token() }
    return { json: { sandbox, ...this.#token() } }
  }

  #token(): object {
    const endsAt = Math.floor((Date.now() + this.tokenMs) / 1000)
    return { data_plane_token: `token${++this.#tokens}`, data_plane_token_expires_at_unix: endsAt }
  }
}
