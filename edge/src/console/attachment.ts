/**
 * One kept process, followed and written to. One call of the agent is open in both directions: records of output come down it from an offset on,
 * keystrokes go up. Whatever ends the call but the process's own end is a cut: whoever owns the attachment connects it again after `retryMs`.
 *
 *   apart ──connect──▶ opening ──the answer's head──▶ open ──record of the end──▶ over
 *     ▲                   └──────────refused, cut, silent, left──────┴──▶ apart
 *
 * Input is taken once. Bytes that went up are kept until the agent's `stdin_end` shows that they were taken. After a cut they are sent again at
 * the offset where they began, and the agent skips what it has; only then does new input go up. Somebody else who writes to the same process by its id
 * moves these offsets: then a cut may lose as many of the bytes that were on their way, and never doubles one.
 */

import { type ProcessEnding, type ProcessRecord, processEnding } from '@portico/shared/api'
import { Backoff } from '@portico/shared/backoff'
import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { encodeInput, type InputRecord, OutputDecoder, type OutputRecord } from '@portico/shared/process-records'

/** What the agent does for one process. */
export interface ProcessWire {
  attach(from: number, input: ReadableStream, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>
  status(): Promise<ProcessRecord>
  stdin(at: number, bytes: Uint8Array): Promise<ProcessRecord>
  signal(signal: string): Promise<ProcessRecord>
  run(run: string, command: string): Promise<ProcessRecord>
  remove(): Promise<ProcessRecord>
}

export interface AttachmentOptions {
  readonly wire: ProcessWire
  readonly clock: Clock
  /** The first byte of output that is wanted. */
  readonly from: number
  /** How much input the process has taken; null if that has to be asked. */
  readonly stdinEnd: number | null
  /** The call is open: what follows is new. */
  readonly onOpen: () => void
  /** Takes records; the next are read when it is done with these. Their bytes are good until then. */
  readonly onRecords: (records: readonly OutputRecord[]) => void | Promise<void>
  readonly random?: () => number
}

/** How one connection ended. */
export type AttachmentEnd =
  | { readonly kind: 'over'; readonly ending: ProcessEnding }
  | { readonly kind: 'cut'; readonly error: AppError }
  | { readonly kind: 'left' }

/** The agent says every 15 s that it is there. */
const silentMs = 50_000
/** Input that nobody has confirmed. */
const mostUnconfirmed = 1_048_576
/** From here on it is asked whether it was taken, or after this long with output in between. */
const askBytes = 32_768
const askMs = 5_000
/** How long input may go without anything that answers it. */
const doubtMs = 2_000

export class Attachment {
  readonly #options: AttachmentOptions
  readonly #backoff: Backoff
  /** The first byte of output that has not been handed on. */
  offset: number
  #state: 'apart' | 'opening' | 'open' | 'over' = 'apart'
  #abort: AbortController | undefined
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined
  #heardAt = 0
  #beganAt = 0
  #typedAt = Number.NEGATIVE_INFINITY

  /** Not known to be taken, oldest first; the first `#sent` bytes of it went up already. */
  #unconfirmed: Uint8Array[] = []
  #length = 0
  #sent = 0
  /** The offset of the first of them. */
  #base: number | null
  #asking = false
  #askedAt = 0
  #stopDoubting: (() => void) | undefined
  /** Made before the input was in order. */
  #early: InputRecord[] = []

  constructor(options: AttachmentOptions) {
    this.#options = options
    const { random } = options
    this.#backoff = new Backoff({ firstMs: 100, maxMs: 5_000, ...(random === undefined ? {} : { random }) })
    this.offset = options.from
    this.#base = options.stdinEnd
  }

  get state(): 'apart' | 'opening' | 'open' | 'over' {
    return this.#state
  }

  /** Whether there is input that nothing was heard after. */
  get isUnanswered(): boolean {
    return this.#length > 0 && this.#typedAt >= this.#heardAt
  }

  /** How long to wait before the next try. */
  retryMs(): number {
    return this.#backoff.next()
  }

  /** Connects, and stays connected until the answer tells why not any longer. One at a time. */
  async connect(): Promise<AttachmentEnd> {
    if (this.#state !== 'apart') throw new AppError('internal', `cannot attach to the process: it is ${this.#state}`)
    const { wire, clock, onOpen } = this.#options
    const abort = new AbortController()
    this.#abort = abort
    this.#state = 'opening'
    this.#beganAt = clock.now()
    // Ends a call whose answer has not begun; one that has ends with its two streams.
    const asking = new AbortController()
    const { readable, writable } = new IdentityTransformStream()
    const writer = writable.getWriter()
    writer.closed.catch(() => undefined) // the output tells of every end
    const stopLooking = this.#watch(abort)
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
    try {
      reader = (await within(abort.signal, wire.attach(this.offset, readable, asking.signal))).getReader()
      this.#state = 'open'
      this.#backoff.reset()
      onOpen()
      void this.#settleInput(writer, abort)
      const ending = await this.#read(reader, abort.signal)
      this.#state = 'over'
      return { kind: 'over', ending }
    } catch (thrown) {
      this.#state = 'apart'
      if (abort.signal.reason === hasLeft) return { kind: 'left' }
      return { kind: 'cut', error: AppError.from(thrown) }
    } finally {
      stopLooking()
      this.#stopDoubting?.()
      this.#stopDoubting = undefined
      this.#writer = undefined
      abort.abort(hasLeft)
      if (reader === undefined) asking.abort()
      reader?.cancel().catch(() => undefined)
      writer.close().catch(() => undefined)
    }
  }

  /** Lets the process alone until the next `connect`. */
  leave(): void {
    this.#abort?.abort(hasLeft)
  }

  /** Input for the process. Throws `overloaded` where too much waits for it already. */
  write(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    if (this.#length + bytes.length > mostUnconfirmed) {
      throw new AppError('overloaded', 'cannot write to the process: it does not read what it was sent before')
    }
    this.#unconfirmed.push(bytes)
    this.#length += bytes.length
    this.#typedAt = this.#options.clock.now()
    if (this.#writer === undefined) return
    this.#send({ kind: 'data', bytes })
    this.#sent = this.#length
    if (this.#sent > askBytes) void this.#ask()
    this.#doubt()
  }

  /** The size of its terminal; false while it is not connected: then it is to be told at the next `onOpen`. */
  resize(cols: number, rows: number): boolean {
    if (this.#state !== 'open') return false
    if (this.#writer === undefined) this.#early.push({ kind: 'size', cols, rows })
    else this.#send({ kind: 'size', cols, rows })
    return true
  }

  /** Forgets all input that is not known to be taken: nobody is to get it later. */
  forgetInput(): void {
    this.#unconfirmed = []
    this.#length = 0
    this.#sent = 0
    this.#base = null
  }

  async #read(reader: ReadableStreamDefaultReader<Uint8Array>, signal: AbortSignal): Promise<ProcessEnding> {
    const decoder = new OutputDecoder()
    for (;;) {
      const { done, value } = await within(signal, reader.read())
      if (done) throw new AppError('runner_disconnected', 'cannot follow the process: the connection was cut')
      this.#heardAt = this.#options.clock.now()
      const records = decoder.push(value)
      const end = records.find((record) => record.kind === 'end')
      const told = records.filter((record) => record.kind !== 'end' && record.kind !== 'nothing')
      if (told.length > 0) await this.#options.onRecords(told)
      for (const record of told) {
        this.offset = record.offset + (record.kind === 'gap' ? 0 : lengthOf(record))
      }
      if (end !== undefined) return endingOf(end.json)
      if (this.#sent > 0 && this.#heardAt - this.#askedAt > askMs) void this.#ask()
    }
  }

  /** Sends again what the last connection may have taken along, and then lets new input through. */
  async #settleInput(writer: WritableStreamDefaultWriter<Uint8Array>, abort: AbortController): Promise<void> {
    const { wire } = this.#options
    try {
      if (this.#base === null) this.#base = (await wire.status()).stdin_end
      while (this.#sent > 0 && !abort.signal.aborted) {
        const again = joined(this.#unconfirmed).subarray(0, this.#sent)
        this.#confirm(await wire.stdin(this.#base, again))
        if (this.#sent === again.length) throw new AppError('guest_error', 'cannot write to the process: it took none')
      }
    } catch (thrown) {
      const error = AppError.from(thrown)
      // Its input is closed: nobody will read these.
      if (error.code === 'conflict') this.forgetInput()
      else return abort.abort(error)
    }
    if (abort.signal.aborted) return
    this.#writer = writer
    for (const record of this.#early.splice(0)) this.#send(record)
    for (const bytes of this.#unconfirmed) this.#send({ kind: 'data', bytes })
    this.#sent = this.#length
  }

  #send(record: InputRecord): void {
    this.#writer?.write(encodeInput(record)).catch(() => undefined)
  }

  /** Asks how much input was taken; answers why that could not be told. It is asked again. */
  async #ask(): Promise<AppError | undefined> {
    if (this.#asking) return undefined
    this.#asking = true
    this.#askedAt = this.#options.clock.now()
    try {
      this.#confirm(await this.#options.wire.status())
      return undefined
    } catch (thrown) {
      return AppError.from(thrown)
    } finally {
      this.#asking = false
    }
  }

  /**
   * Input that nothing answers may have gone up a connection that died in silence, as one does whose machine was put to sleep: then it is asked for,
   * which is use of the sandbox, and what was not taken goes up another one.
   */
  #doubt(): void {
    const { clock } = this.#options
    this.#stopDoubting ??= clock.after(Math.max(0, this.#typedAt + doubtMs - clock.now()), () => {
      this.#stopDoubting = undefined
      if (!this.isUnanswered) return
      if (clock.now() < this.#typedAt + doubtMs) this.#doubt()
      else if (this.#abort !== undefined) void this.#lookFor(this.#abort)
    })
  }

  async #lookFor(abort: AbortController): Promise<void> {
    const failure = await this.#ask()
    if (this.#abort !== abort || !this.isUnanswered) return
    if (failure !== undefined) abort.abort(failure)
    else if (this.#sent > 0) abort.abort(new AppError('runner_disconnected', 'cannot type: nothing was taken'))
  }

  #confirm({ stdin_end: end }: ProcessRecord): void {
    if (this.#base === null) return
    let taken = Math.min(Math.max(0, end - this.#base), this.#sent)
    this.#length -= taken
    this.#sent -= taken
    this.#base = Math.max(end, this.#base)
    while (taken > 0) {
      const first = this.#unconfirmed[0] as Uint8Array
      if (first.length > taken) this.#unconfirmed[0] = first.subarray(taken)
      else this.#unconfirmed.shift()
      taken -= Math.min(taken, first.length)
    }
  }

  /** Gives the connection up when nothing was heard for too long. */
  #watch(abort: AbortController): () => void {
    const { clock } = this.#options
    let stop = () => undefined as undefined
    const look = () => {
      const due = Math.max(this.#heardAt, this.#beganAt) + silentMs
      if (clock.now() >= due)
        return abort.abort(new AppError('runner_disconnected', 'cannot follow the process: silence'))
      const cancel = clock.after(due - clock.now(), look)
      stop = () => void cancel()
    }
    look()
    return () => stop()
  }
}

const hasLeft = new AppError('cancelled', 'cannot follow the process: nobody looks at it')

function lengthOf(record: OutputRecord): number {
  if (record.kind === 'stdout' || record.kind === 'stderr') return record.bytes.length
  return record.kind === 'mark' ? new TextEncoder().encode(record.json).length : 0
}

function endingOf(json: string): ProcessEnding {
  try {
    const parsed = processEnding.safeParse(JSON.parse(json))
    if (parsed.success) return parsed.data
  } catch {
    // Told below.
  }
  throw new AppError('guest_error', 'cannot read how the process ended: the sandbox said something else')
}

/** The work's outcome, or the signal's reason if that comes first. */
async function within<Value>(signal: AbortSignal, work: Promise<Value>): Promise<Value> {
  signal.throwIfAborted()
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
