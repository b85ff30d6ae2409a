/**
 * One HTTP request to a server in a sandbox, for a stream of the tunnel. Bodies stream both ways at the pace of their readers; an answer's bytes leave as
 * they come. Interim answers (1xx) are the server's business with this side and end here.
 *
 *   lent a connection ──head, body──▶ asked ──answer's head──▶ answering ──its end──▶ over, the connection given back or closed
 *        └── a kept one that was closed meanwhile, and a request that may be made twice: once more on a fresh one
 */

import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import type { EdgeCall } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { abortError, type TunnelStream } from '@portico/shared/tunnel'
import type { BorrowOptions } from '../sandbox/guest-calls.ts'
import { passOn } from './answer.ts'
import { refused, serverFault, unusable } from './faults.ts'
import { answerHeaders, maxPortHeaders, requestHead } from './headers.ts'
import type { Borrowed } from './pool.ts'

export type RequestCall = Extract<EdgeCall, { op: 'port.request' }>

/** Lends connections: an Engine. */
export interface Lender {
  borrow(id: string, generation: number, port: number, options: BorrowOptions): Promise<Borrowed>
}

/** Of an answer's head, in bytes: it has to fit into a head of the tunnel. */
export const maxAnswerHead = 32 * 1024
/** What may be made again if nobody knows whether it was. */
const repeatable: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

/** Makes the request and answers the stream. Rejects, having reset the stream if it was answered already. */
export async function portRequest(lender: Lender, stream: TunnelStream, call: RequestCall): Promise<number> {
  if (call.method === 'CONNECT') throw refused('a server in the sandbox is no proxy')
  const gone = new AbortController()
  void stream.done.then((error) => error && gone.abort(error))
  const { signal } = gone
  const may = !call.body && repeatable.has(call.method)
  for (let fresh = !may; ; fresh = true) {
    const borrowed = await lender.borrow(call.sandbox, call.generation, call.port, { signal, fresh })
    const exchange = new Exchange(borrowed, call, signal)
    try {
      if (call.body) void exchange.upload(stream)
      const response = await exchange.response
      const head = { status: statusOf(response), headers: answerHeaders(response.rawHeaders) }
      await passOn(response, stream, head, borrowed.duplex)
      exchange.finish(response)
      return head.status
    } catch (thrown) {
      const error = exchange.fail(thrown)
      if (!may || !borrowed.reused || exchange.answered || signal.aborted) throw error
    }
  }
}

/** The request on its connection, until that is given back or closed. */
class Exchange {
  /** Resolves with the answer's head. */
  readonly response: Promise<IncomingMessage>
  answered = false
  readonly #borrowed: Borrowed
  readonly #client: ClientRequest
  readonly #signal: AbortSignal
  readonly #onAbort = () => void this.#client.destroy(abortError(this.#signal))
  #over = false

  constructor(borrowed: Borrowed, call: RequestCall, signal: AbortSignal) {
    this.#borrowed = borrowed
    this.#signal = signal
    this.#client = this.#send(call)
    borrowed.duplex.once('free', borrowed.giveBack)
    this.response = new Promise((resolve, reject) => {
      this.#client.once('response', (response: IncomingMessage) => {
        this.answered = true
        resolve(response)
      })
      this.#client.on('error', reject)
      this.#client.once('close', () => (this.answered ? undefined : reject(unusable('it gave no answer'))))
    })
    this.response.catch(() => undefined)
    signal.addEventListener('abort', this.#onAbort, { once: true })
    if (signal.aborted) this.#onAbort()
    if (!call.body) this.#client.end()
  }

  /** Sends the caller's body. The server may answer before it has taken all; then the rest is dropped. */
  async upload(stream: TunnelStream): Promise<void> {
    const client = this.#client
    // The head waits only for a body that is here already: a server may answer before the rest, or for its sake.
    const alone = setImmediate(() => client.flushHeaders())
    try {
      for (let bytes = await stream.read(); bytes; bytes = await stream.read()) {
        clearImmediate(alone)
        if (!this.#over && !client.destroyed && !client.write(bytes)) await room(client)
      }
      clearImmediate(alone)
      client.end()
    } catch (error) {
      clearImmediate(alone)
      client.destroy(AppError.from(serverFault(error, this.#borrowed.duplex)))
    }
  }

  /** The answer was read to its end. */
  finish({ complete }: IncomingMessage): void {
    this.#over = true
    this.#signal.removeEventListener('abort', this.#onAbort)
    // Node tells that a connection is free for another request once both bodies are over.
    if (!complete || !this.#client.shouldKeepAlive || !this.#client.writableFinished) this.#close()
  }

  /** Ends it by force; answers with why. */
  fail(thrown: unknown): AppError {
    this.#over = true
    this.#signal.removeEventListener('abort', this.#onAbort)
    const { duplex } = this.#borrowed
    const error = this.#signal.aborted ? abortError(this.#signal) : serverFault(thrown, duplex)
    this.#client.destroy(error)
    duplex.destroy(error)
    this.#close()
    return error
  }

  #close(): void {
    this.#borrowed.duplex.off('free', this.#borrowed.giveBack)
    this.#borrowed.close()
  }

  #send(call: RequestCall): ClientRequest {
    const { duplex } = this.#borrowed
    try {
      const client = httpRequest({
        method: call.method,
        path: call.path,
        headers: requestHead(call),
        createConnection: () => duplex,
        maxHeaderSize: maxAnswerHead,
        insecureHTTPParser: false,
        setDefaultHeaders: false,
      })
      client.maxHeadersCount = maxPortHeaders + 1
      // Without an agent it would close the connection, whatever its headers say.
      client.shouldKeepAlive = true
      Object.assign(client, { strictContentLength: true })
      return client
    } catch (error) {
      this.#borrowed.close()
      throw serverFault(error, duplex)
    }
  }
}

function statusOf({ statusCode = 0 }: IncomingMessage): number {
  if (statusCode < 200 || statusCode > 999) throw unusable('its status is out of range')
  return statusCode
}

function room(client: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      client.off('drain', settle)
      client.off('close', settle)
      resolve()
    }
    client.once('drain', settle)
    client.once('close', settle)
  })
}
