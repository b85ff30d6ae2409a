/**
 * One HTTP request to the agent on a stream of its own. Bodies stream both ways with back-pressure. What comes back is hostile until it has passed
 * Node's parser and the limits here; whatever is wrong with it is `guest_error`, never more.
 */

import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { AppError } from '@portico/shared/errors'
import { tokenHeader } from '@portico/shared/guest'
import type { TunnelStream } from '@portico/shared/tunnel'
import { requestHeaders, responseHeaders } from './headers.ts'
import { maxHeadBytes, maxHeaders } from './limits.ts'
import { StreamDuplex } from './stream-duplex.ts'

export interface GuestRequest {
  readonly method: string
  /** Path and query. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** Without a body the request has none, whatever its method. A body that is at hand as a whole leaves in one piece with the head. */
  readonly body?: Uint8Array | AsyncIterable<Uint8Array> | undefined
  /** Ends the request and its stream at any point until the answer's body is read to its end. */
  readonly signal: AbortSignal
}

export interface GuestResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Rejects with an AppError if the guest does not finish it. Whoever does not read it to its end aborts the request. */
  readonly body: AsyncIterable<Uint8Array>
}

export interface Exchange {
  /** Shows the agent that the request is for its machine. */
  readonly token: string | undefined
  /** Whether the session still stands: if so, what ends the stream was the guest's doing, and its choice of an error means nothing here. */
  readonly connected: () => boolean
}

/** Sends the request on `stream`, which it owns from here on; resolves with the head of the answer. */
export async function exchange(
  stream: TunnelStream,
  asked: GuestRequest,
  { token, connected }: Exchange,
): Promise<GuestResponse> {
  const duplex = new StreamDuplex(stream, (error) => (connected() ? malformed('it broke off', error) : error))
  // Who still waits is told by the request or by its answer's body; after that a late failure concerns nobody.
  duplex.on('error', () => undefined)
  const onAbort = () =>
    duplex.destroy(AppError.from(asked.signal.reason, 'cannot finish the request: it was cancelled'))
  if (asked.signal.aborted) onAbort()
  asked.signal.addEventListener('abort', onAbort, { once: true })
  void stream.done.then(() => asked.signal.removeEventListener('abort', onAbort))
  try {
    const client = send(duplex, asked, token)
    const response = await answerOf(client)
    return {
      status: checkedStatus(response),
      headers: responseHeaders(response.rawHeaders),
      body: bodyOf(response, duplex),
    }
  } catch (error) {
    const known = classify(error, duplex)
    duplex.destroy(known)
    throw known
  }
}

function send(duplex: StreamDuplex, asked: GuestRequest, token: string | undefined): ClientRequest {
  const own = token === undefined ? {} : { [tokenHeader]: token }
  const client = httpRequest({
    method: asked.method,
    path: asked.path,
    headers: { host: 'guest', ...framed(requestHeaders(asked.headers ?? {}), asked), ...own, connection: 'close' },
    createConnection: () => duplex,
    maxHeaderSize: maxHeadBytes,
    insecureHTTPParser: false,
    setDefaultHeaders: false,
  })
  client.maxHeadersCount = maxHeaders + 1
  Object.assign(client, { strictContentLength: true })
  if (asked.body === undefined || asked.body instanceof Uint8Array) client.end(asked.body)
  else {
    // The head does not wait for the body: who attaches to a process reads before he writes.
    client.flushHeaders()
    void sendBody(client, asked.body)
  }
  return client
}

/** Says how long the body is: as the caller did, or in chunks. A length for a body that is not sent would leave the guest waiting. */
function framed(headers: Record<string, string>, { method, body }: GuestRequest): Record<string, string> {
  const { 'content-length': length, ...others } = headers
  if (body instanceof Uint8Array) return { ...others, 'content-length': String(body.length) }
  if (body) return length === undefined ? { ...others, 'transfer-encoding': 'chunked' } : headers
  return method === 'PUT' || method === 'POST' ? { ...others, 'content-length': '0' } : others
}

/** The guest may answer before it has read everything; then nobody wants the rest. */
async function sendBody(client: ClientRequest, body: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    for await (const bytes of body) {
      if (client.destroyed) return
      if (!client.write(bytes)) await drained(client)
    }
    client.end()
  } catch (error) {
    client.destroy(wrongLength(error) ?? AppError.from(error))
  }
}

function wrongLength(error: unknown): AppError | undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ERR_HTTP_CONTENT_LENGTH_MISMATCH') return undefined
  return new AppError('invalid_request', 'cannot send the request to the sandbox: its body is not as long as it says')
}

function drained(client: ClientRequest): Promise<void> {
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

function answerOf(client: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    client.once('response', resolve)
    client.on('error', reject)
    client.once('upgrade', () => reject(malformed('it changed the protocol')))
    client.once('close', () => reject(malformed('it gave no answer')))
  })
}

function checkedStatus(response: IncomingMessage): number {
  const status = response.statusCode ?? 0
  if (status < 200 || status > 599) throw malformed('its status is out of range')
  // Only a missing or wrong token is answered so: that is between runner and agent, and no caller's doing.
  if (status === 401) throw new AppError('guest_error', 'cannot use the sandbox: its agent refused the request')
  if (response.rawHeaders.length > 2 * maxHeaders) throw malformed('it has too many headers')
  return status
}

async function* bodyOf(response: Readable, duplex: StreamDuplex): AsyncGenerator<Uint8Array> {
  try {
    for await (const bytes of response) yield bytes as Uint8Array
  } catch (error) {
    const known = classify(error, duplex)
    duplex.destroy(known)
    throw known
  } finally {
    duplex.destroy()
  }
}

/** The stream knows better than the parser, which only saw its input end. */
function classify(error: unknown, duplex: StreamDuplex): AppError {
  if (error instanceof AppError) return error
  if (duplex.errored instanceof AppError) return duplex.errored
  const { code = '' } = error as NodeJS.ErrnoException
  if (code.startsWith('HPE_')) return malformed('it is not HTTP', error)
  if (code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE') return malformed('it ended early', error)
  if (code === 'ERR_UNESCAPED_CHARACTERS' || code === 'ERR_INVALID_CHAR')
    return new AppError(
      'invalid_request',
      'cannot send the request to the sandbox: it holds characters that HTTP does not',
    )
  return AppError.from(error)
}

function malformed(why: string, cause?: unknown): AppError {
  return new AppError('guest_error', `cannot use the answer of the sandbox's agent: ${why}`, { cause })
}
