/**
 * A pull of an image to a runner: the runner's progress comes down as the image's object takes it, and nothing is held but what the stream's
 * credit allows.
 *
 *   waiting ──answer's head──▶ pulling ──its end──▶ over
 *      └────────┴── nobody reads, nothing moved for too long, tunnel lost ──▶ over, the stream reset: the runner ends the pull if nobody else waits
 */

import type { Clock } from '@portico/shared/clock'
import { answers, type PullProgress } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { parseHead, type TunnelStream } from '@portico/shared/tunnel'
import { errorAnswer } from '../guest/wire.ts'
import { type PullCall, pullAnswer } from '../image/pull-wire.ts'
import { notConnected } from './ask.ts'
import { watch } from './deadlines.ts'
import type { Session } from './sessions.ts'

const headMs = 30_000
/** A phase that says nothing for so long is stuck. */
const stalledMs = 300_000
const newline = 10
const encoder = new TextEncoder()

/** Makes the call. Failures are answers, too: they have to cross to the image's object. */
export async function imagePull(
  current: () => Session | undefined,
  call: PullCall,
  request: Request,
  clock: Clock,
): Promise<Response> {
  let pull: Pull | undefined
  try {
    const session = current()
    if (session === undefined) throw notConnected()
    pull = new Pull(session, call, request, clock)
    return await pull.answer()
  } catch (thrown) {
    const error = AppError.from(thrown)
    pull?.end(error)
    return errorAnswer(error.toWire())
  }
}

class Pull {
  readonly #stream: TunnelStream
  readonly #request: Request
  readonly #clock: Clock
  readonly #stopLooking: () => void
  #dueAt: number
  /** Whether what came so far ends with a whole line. */
  #isWhole = true

  constructor(session: Session, call: PullCall, request: Request, clock: Clock) {
    this.#request = request
    this.#clock = clock
    this.#dueAt = clock.now() + headMs
    this.#stream = session.muxer.open(encoder.encode(JSON.stringify({ op: 'image.pull', ...call })))
    this.#stream.end()
    request.signal.addEventListener('abort', this.#onGone)
    this.#stopLooking = watch(session, clock, this)
  }

  async answer(): Promise<Response> {
    const head = parseHead(await this.#stream.head(), answers['image.pull'])
    if (!head.ok) throw AppError.fromWire(head.error)
    const { readable, writable } = new IdentityTransformStream()
    void this.#copy(writable.getWriter())
    return pullAnswer(readable)
  }

  async #copy(writer: WritableStreamDefaultWriter<Uint8Array>): Promise<void> {
    writer.closed.catch(this.#onGone)
    try {
      for (;;) {
        this.#dueAt = this.#clock.now() + stalledMs
        const bytes = await this.#stream.read()
        if (bytes === undefined) break
        await writer.write(bytes)
        if (bytes.length > 0) this.#isWhole = bytes.at(-1) === newline
      }
      await writer.close()
    } catch (thrown) {
      await this.#tellEnd(writer, AppError.from(thrown)).catch(() => undefined)
      this.#onGone()
    } finally {
      this.#over()
    }
  }

  /** The last line says why it ended; where a line is open, nothing can be said any more. */
  async #tellEnd(writer: WritableStreamDefaultWriter<Uint8Array>, error: AppError): Promise<void> {
    if (!this.#isWhole) return writer.abort(error)
    const { code, message } = error.toWire()
    const line: PullProgress = { event: 'error', error: { code, message } }
    await writer.write(encoder.encode(`${JSON.stringify(line)}\n`))
    await writer.close()
  }

  /** Ends it for a reason of ours. */
  end(error: AppError): void {
    this.#stream.reset(error.toWire())
    this.#over()
  }

  readonly #onGone = (): void => {
    this.#stream.reset({ code: 'cancelled', message: 'cannot finish the pull: nobody waits for it' })
  }

  #over(): void {
    this.#stopLooking()
    this.#request.signal.removeEventListener('abort', this.#onGone)
  }

  get dueAt(): number {
    return this.#dueAt
  }

  /** Gives it up. */
  expire(): void {
    this.#stream.reset({ code: 'deadline', message: 'cannot finish the pull: the runner did not go on in time' })
  }
}
