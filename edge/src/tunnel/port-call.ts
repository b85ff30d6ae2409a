/**
 * One request to a server in a sandbox: its body goes up as the server takes it, the answer comes down as the caller takes it. Once the answer has
 * begun nothing limits how long it may be silent: a page may listen for events all day.
 *
 *   waiting ──answer's head──▶ answering ──both ends──▶ over
 *      │                └──101──▶ a socket (port-socket.ts)
 *      └── caller gone, no head for too long, tunnel lost ──▶ over, the stream reset
 */

import type { Clock } from '@portico/shared/clock'
import { answers, type HeaderList } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { parseHead, type TunnelStream } from '@portico/shared/tunnel'
import { responseHeaders } from '../port/response-headers.ts'
import { type PortCall, portFailure } from '../port/wire.ts'
import { notConnected } from './ask.ts'
import { bodiless, joined, lengthOf, sendPieces, sendWhole, small, uploaded } from './bodies.ts'
import { watch } from './deadlines.ts'
import { SocketBridge } from './port-socket.ts'
import type { Session } from './sessions.ts'

/** How long a server may take to answer once nothing of the request moves any more. */
const headMs = 300_000
/** An answer that has begun, or a socket, is looked after for as long as it lives: this is longer. */
const unlimitedMs = 365 * 24 * 3_600_000
/** So long the rest of a small answer may take to count as coming at once. */
const atOnceMs = 5
const late = Symbol('late')

const encoder = new TextEncoder()

/** Makes the request. Failures are answers, too: they have to cross to the Worker. */
export async function portCall(
  current: () => Session | undefined,
  call: PortCall,
  request: Request,
  clock: Clock,
): Promise<Response> {
  let exchange: PortExchange | undefined
  try {
    const whole = call.body === 'whole' ? new Uint8Array(await request.arrayBuffer()) : undefined
    const session = current()
    if (session === undefined) throw notConnected()
    exchange = new PortExchange(session, call, request, clock, whole)
    return await exchange.answer()
  } catch (thrown) {
    const error = AppError.from(thrown)
    await exchange?.fail(error)
    return portFailure(error.toWire())
  }
}

class PortExchange {
  readonly #call: PortCall
  readonly #request: Request
  readonly #stream: TunnelStream
  readonly #clock: Clock
  #dueAt: number
  readonly #stopLooking: () => void
  #upload: Promise<void> | undefined

  constructor(session: Session, call: PortCall, request: Request, clock: Clock, whole: Uint8Array | undefined) {
    this.#call = call
    this.#request = request
    this.#clock = clock
    this.#dueAt = clock.now() + headMs
    this.#stream = session.muxer.open(encoder.encode(JSON.stringify(headOf(call))))
    request.signal.addEventListener('abort', this.#onGone)
    this.#stopLooking = watch(session, clock, this)
    if (whole !== undefined) sendWhole(this.#stream, whole)
    else if (call.body === 'stream' && request.body !== null)
      this.#upload = sendPieces(this.#stream, request.body, () => this.#pieceSent())
    else if (call.op === 'port.request') this.#stream.end()
  }

  /** The server's answer, its body on its way. */
  async answer(): Promise<Response> {
    const { status, headers: list, protocol } = await this.#head()
    this.#dueAt = this.#clock.now() + unlimitedMs
    const headers = responseHeaders(list, this.#call)
    if (status === 101) return this.#socket(headers, protocol)
    if (status < 200 || status > 599) {
      throw new AppError('guest_error', `cannot pass the answer on: its status is ${status}`)
    }
    if (this.#call.method === 'HEAD' || bodiless.includes(status)) {
      await this.#finish()
      return new Response(null, { status, headers })
    }
    const length = lengthOf(headers.get('content-length'))
    // The server's bytes are what they say they are: nothing is to be encoded anew.
    const init = { status, headers, encodeBody: 'manual' } as const
    if (length === undefined || length > small) return new Response(this.#receive(length, [], undefined), init)
    const { parts, next } = await this.#early(length)
    if (next !== undefined) return new Response(this.#receive(length, parts, next), init)
    await this.#finish()
    return new Response(joined(parts, length), init)
  }

  /** Ends it for a reason of ours. What the caller still sends is dropped, so that it gets to see the answer. */
  async fail(error: AppError): Promise<void> {
    this.#stream.reset(error.toWire())
    await this.#finish()
  }

  readonly #onGone = (): void => {
    this.#stream.reset({ code: 'cancelled', message: 'cannot finish the request: the caller went away' })
  }

  async #head(): Promise<{ status: number; headers: HeaderList; protocol: string | null }> {
    const { op } = this.#call
    const bytes = await this.#stream.head().catch((thrown: unknown) => {
      throw understood(AppError.from(thrown))
    })
    const head =
      op === 'port.socket' ? parseHead(bytes, answers[op]) : { protocol: null, ...parseHead(bytes, answers[op]) }
    if (!head.ok) throw understood(AppError.fromWire(head.error))
    return head
  }

  #socket(headers: Headers, protocol: string | null): Response {
    if (this.#call.op !== 'port.socket')
      throw new AppError('guest_error', 'cannot pass the answer on: nobody asked to upgrade')
    // From here on the socket itself tells when its caller goes.
    this.#request.signal.removeEventListener('abort', this.#onGone)
    const bridge = new SocketBridge(this.#stream, this.#clock)
    void bridge.over.then(this.#stopLooking)
    if (protocol !== null && this.#call.protocols.includes(protocol)) headers.set('sec-websocket-protocol', protocol)
    return new Response(null, { status: 101, webSocket: bridge.client, headers })
  }

  #pieceSent(): void {
    this.#dueAt = Math.max(this.#dueAt, this.#clock.now() + headMs)
  }

  /** A small body, if it comes at once; otherwise what came of it, and the read that is still to answer. */
  async #early(length: number): Promise<{ parts: Uint8Array[]; next?: Promise<Uint8Array | undefined> }> {
    const parts: Uint8Array[] = []
    let got = 0
    let moment: { passed: Promise<typeof late>; stop: () => void } | undefined
    try {
      for (;;) {
        const next = this.#stream.read()
        // Whoever reads on sees it fail; until then nobody may be looking.
        next.catch(() => undefined)
        // What came in the same message needs no timer.
        let piece = await Promise.race([next, turns()])
        if (piece === late) {
          moment ??= this.#moment()
          piece = await Promise.race([next, moment.passed])
        }
        if (piece === late) return { parts, next }
        if (piece === undefined) break
        parts.push(piece)
        got += piece.length
        if (got > length) break
      }
    } finally {
      moment?.stop()
    }
    if (got === length) return { parts }
    throw new AppError('guest_error', 'cannot pass the answer on: its length is not the one announced')
  }

  #moment(): { passed: Promise<typeof late>; stop: () => void } {
    const { promise: passed, resolve } = Promise.withResolvers<typeof late>()
    return { passed, stop: this.#clock.after(atOnceMs, () => resolve(late)) }
  }

  /** The answer's body as a stream of the platform's own, which the Worker can pass on without waking JavaScript. */
  #receive(
    length: number | undefined,
    parts: readonly Uint8Array[],
    next: Promise<Uint8Array | undefined> | undefined,
  ): ReadableStream {
    const { readable, writable } = length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length)
    void this.#copy(writable.getWriter(), parts, next).finally(() => this.#over())
    return readable
  }

  async #copy(
    writer: WritableStreamDefaultWriter<Uint8Array>,
    parts: readonly Uint8Array[],
    next: Promise<Uint8Array | undefined> | undefined,
  ): Promise<void> {
    writer.closed.catch(this.#onGone)
    try {
      for (const part of parts) await writer.write(part)
      for (let bytes = await (next ?? this.#stream.read()); bytes !== undefined; bytes = await this.#stream.read()) {
        await writer.write(bytes)
      }
      await writer.close()
      this.#stream.reset({ code: 'cancelled', message: 'cannot send more: the answer is complete' })
    } catch (thrown) {
      this.#onGone()
      await writer.abort(thrown).catch(() => undefined)
    }
  }

  /** Tells the server that nobody reads on and waits, within a bound, until the caller has sent what it had to send. */
  async #finish(): Promise<void> {
    this.#stream.reset({ code: 'cancelled', message: 'cannot send more: the answer is complete' })
    this.#over()
    await uploaded(this.#upload, this.#clock)
  }

  #over(): void {
    this.#stopLooking()
    this.#request.signal.removeEventListener('abort', this.#onGone)
  }

  /** When it is given up unless something moves. */
  get dueAt(): number {
    return this.#dueAt
  }

  /** Gives it up. */
  expire(): void {
    this.#stream.reset({ code: 'deadline', message: 'cannot finish the request: the server did not answer in time' })
  }
}

function headOf({
  op,
  sandbox,
  generation,
  port,
  method,
  path,
  headers,
  protocols,
  body,
  request_id,
}: PortCall): object {
  const common = { op, sandbox, generation, port, path, headers, request_id }
  return op === 'port.socket' ? { ...common, protocols } : { ...common, method, body: body !== 'none' }
}

/** A runner from before there were ports takes the call for nonsense. */
function understood(error: AppError): AppError {
  if (error.code !== 'protocol_error') return error
  return new AppError('unsupported', "cannot reach the port: the sandbox's runner is too old to serve ports", {
    cause: error,
  })
}

/** As long as a few steps take that wait for nothing. */
async function turns(): Promise<typeof late> {
  for (let turn = 0; turn < 4; turn++) await null
  return late
}
