/**
 * One HTTP request to a guest: the body goes up as the guest takes it, the answer comes down as the caller takes it. Nothing is held but
 * what the stream's credit allows, and answers that are small anyway.
 *
 *   waiting ──answer's head──▶ answering ──both ends──▶ over
 *      └────────┴── caller gone, nothing moved for too long, tunnel lost ──▶ over, the stream reset
 */

import type { Clock } from '@portico/shared/clock'
import { answers } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { parseHead, type TunnelStream } from '@portico/shared/tunnel'
import { errorAnswer, type GuestCall, guestHeaders } from '../guest/wire.ts'
import { notConnected } from './ask.ts'
import { bodiless, joined, lengthOf, sendPieces, sendWhole, small, uploaded } from './bodies.ts'
import { watch } from './deadlines.ts'
import type { Session } from './sessions.ts'

/**
 * An answer of which nothing moves for so long is given up, whoever holds it up. A caller may be granted more patience; the guest is not: while a
 * process says nothing its agent does.
 */
const stalledMs = 120_000

const encoder = new TextEncoder()

/** Makes the call. Failures are answers, too: they have to cross to the Worker. */
export async function guestCall(
  current: () => Session | undefined,
  call: GuestCall,
  request: Request,
  clock: Clock,
): Promise<Response> {
  let exchange: Exchange | undefined
  try {
    // Sent in the same message as the call itself. The socket is chosen after that wait, so that calls which come together spread.
    const whole = call.whole ? await wholeBody(call, request) : undefined
    const session = current()
    if (session === undefined) throw notConnected()
    exchange = new Exchange(session, call, request, clock, whole)
    return await exchange.answer()
  } catch (thrown) {
    const error = AppError.from(thrown)
    await exchange?.fail(error)
    return errorAnswer(error.toWire())
  }
}

class Exchange {
  readonly #call: GuestCall
  readonly #request: Request
  readonly #stream: TunnelStream
  readonly #clock: Clock
  #movedAt: number
  #limitMs: number
  readonly #stopLooking: () => void
  #upload: Promise<void> | undefined

  constructor(session: Session, call: GuestCall, request: Request, clock: Clock, whole: Uint8Array | undefined) {
    this.#call = call
    this.#request = request
    this.#clock = clock
    this.#movedAt = clock.now()
    this.#limitMs = call.wait_ms
    const { wait_ms: _wait, patience_ms: _patience, open_ended: _open, ...sent } = call
    const { sealed = false, whole: _whole, text: _text, ...head } = sent
    this.#stream = session.muxer.open(encoder.encode(JSON.stringify({ op: 'guest.request', ...head })))
    request.signal.addEventListener('abort', this.#onGone)
    this.#stopLooking = watch(session, clock, this)
    if (whole !== undefined) sendWhole(this.#stream, whole)
    else if (request.body === null) this.#stream.end()
    else this.#upload = sendPieces(this.#stream, request.body, () => this.#moved(), sealed)
  }

  /** The guest's answer, its body on its way. */
  async answer(): Promise<Response> {
    const head = parseHead(await this.#stream.head(), answers['guest.request'])
    if (!head.ok) throw AppError.fromWire(head.error)
    this.#moved(stalledMs)
    const headers = guestHeaders(head.headers)
    const length = lengthOf(headers['content-length'])
    const { status } = head
    if (this.#call.method === 'HEAD' || bodiless.includes(status)) {
      await this.#finish()
      return new Response(null, { status, headers })
    }
    // An error that came before the whole body was taken: the rest of it is dropped before the caller is answered.
    const whole = length !== undefined && length <= small
    if (!whole && status < 400) return new Response(this.#receive(length), { status, headers })
    const body = await this.#gather(whole ? length : small)
    await this.#finish()
    return new Response(body, { status, headers })
  }

  /** Ends it for a reason of ours. What the caller still sends is dropped, so that it gets to see the answer. */
  async fail(error: AppError): Promise<void> {
    this.#stream.reset(error.toWire())
    await this.#finish()
  }

  readonly #onGone = (): void => {
    this.#stream.reset({ code: 'cancelled', message: 'cannot finish the call: the caller went away' })
  }

  /** The answer's body as a stream of the platform's own, which the Worker can pass on without waking JavaScript. */
  #receive(length: number | undefined): ReadableStream {
    const { readable, writable } = length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length)
    void this.#copy(writable.getWriter()).finally(() => this.#over())
    return readable
  }

  async #copy(writer: WritableStreamDefaultWriter<Uint8Array>): Promise<void> {
    writer.closed.catch(this.#onGone)
    try {
      for (let bytes = await this.#stream.read(); bytes !== undefined; bytes = await this.#stream.read()) {
        this.#moved(this.#call.patience_ms ?? stalledMs)
        await writer.write(bytes)
        this.#moved(stalledMs)
      }
      await writer.close()
    } catch (thrown) {
      this.#onGone()
      await writer.abort(thrown).catch(() => undefined)
    }
  }

  /** All of an answer that is small, or was announced so. */
  async #gather(most: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = []
    let length = 0
    for (let bytes = await this.#stream.read(); bytes !== undefined; bytes = await this.#stream.read()) {
      length += bytes.length
      if (length > most)
        throw new AppError('guest_error', 'cannot read the answer of the guest: it is longer than announced')
      parts.push(bytes)
    }
    return joined(parts, length)
  }

  /** Tells the guest that nobody reads on and waits, within a bound, until the caller has sent what it had to send. */
  async #finish(): Promise<void> {
    this.#stream.reset({ code: 'cancelled', message: 'cannot send more: the answer is complete' })
    this.#over()
    if (!this.#call.open_ended) await uploaded(this.#upload, this.#clock)
  }

  #over(): void {
    this.#stopLooking()
    this.#request.signal.removeEventListener('abort', this.#onGone)
  }

  #moved(limitMs = this.#limitMs): void {
    this.#movedAt = this.#clock.now()
    this.#limitMs = limitMs
  }

  /** When it is given up unless something moves. */
  get dueAt(): number {
    return this.#movedAt + this.#limitMs
  }

  /** Gives it up. */
  expire(): void {
    const why = 'the sandbox did not go on in time'
    this.#stream.reset({ code: 'deadline', message: `cannot finish the call: ${why}` })
  }
}

async function wholeBody({ text }: GuestCall, request: Request): Promise<Uint8Array> {
  return text === undefined ? new Uint8Array(await request.arrayBuffer()) : encoder.encode(text)
}
