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
import { drop, dropped, pieces } from '../body.ts'
import { errorAnswer, type GuestCall, guestHeaders } from '../guest/wire.ts'
import { notConnected } from './ask.ts'
import { watch } from './deadlines.ts'
import type { Session } from './sessions.ts'

/** An answer of which nothing moves for so long is given up, whoever holds it up. */
const stalledMs = 120_000
/** Up to here an answer of known length is passed on in one piece, which costs a fraction of streaming it. */
const small = 65_536
/** Statuses that have no body. */
const bodiless = [204, 205, 304]

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
    const { wait_ms: _wait, whole: _whole, text: _text, ...head } = call
    this.#stream = session.muxer.open(encoder.encode(JSON.stringify({ op: 'guest.request', ...head })))
    request.signal.addEventListener('abort', this.#onGone)
    this.#stopLooking = watch(session, clock, this)
    if (whole !== undefined) this.#sendWhole(whole)
    else if (request.body === null) this.#stream.end()
    else this.#upload = this.#send(request.body)
  }

  /** The guest's answer, its body on its way. */
  async answer(): Promise<Response> {
    const head = parseHead(await this.#stream.head(), answers['guest.request'])
    if (!head.ok) throw AppError.fromWire(head.error)
    this.#moved(stalledMs)
    const headers = guestHeaders(head.headers)
    const length = lengthOf(headers)
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

  #sendWhole(body: Uint8Array): void {
    // What goes wrong with it is told by the answer.
    this.#stream.write(body).catch(() => undefined)
    this.#stream.end()
  }

  async #send(body: ReadableStream): Promise<void> {
    try {
      for await (const piece of pieces(body)) {
        await this.#stream.write(piece)
        this.#moved()
      }
      this.#stream.end()
    } catch {
      // Either the caller's body broke off, and half a body must not look like a whole one, or the stream is over and the caller still sends.
      this.#stream.reset({ code: 'cancelled', message: 'cannot send the body: the caller went away' })
      await drop(body)
    }
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
        await writer.write(bytes)
        this.#moved()
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
    return parts.length === 1 ? (parts[0] as Uint8Array) : joined(parts, length)
  }

  /** Tells the guest that nobody reads on and waits, within a bound, until the caller has sent what it had to send. */
  async #finish(): Promise<void> {
    this.#stream.reset({ code: 'cancelled', message: 'cannot send more: the answer is complete' })
    this.#over()
    if (this.#upload === undefined) return
    const late = Promise.withResolvers<void>()
    const stop = this.#clock.after(dropped.ms, () => late.resolve())
    await Promise.race([this.#upload, late.promise])
    stop()
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

function lengthOf(headers: Readonly<Record<string, string>>): number | undefined {
  const text = headers['content-length'] ?? ''
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
