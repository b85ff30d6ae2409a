/**
 * A kept process as the agent serves it: output with offsets, input that is taken once by offset, followers that a test can cut. It speaks the
 * records of the real agent, either as a wire of its own or as the guest of a scripted runner.
 */

import type { ProcessRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { ProcessWire } from '../src/console/attachment.ts'

const encoder = new TextEncoder()

type Kind = 'stdout' | 'stderr' | 'mark'
const kinds = { stdout: 1, stderr: 2, mark: 5 } as const

interface Piece {
  readonly kind: Kind
  readonly at: number
  readonly bytes: Uint8Array
}

/** One output record, as bytes. */
export function outputRecord(kind: number, offset: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(13 + payload.length)
  const view = new DataView(bytes.buffer)
  bytes[0] = kind
  view.setBigUint64(1, BigInt(offset))
  view.setUint32(9, payload.length)
  bytes.set(payload, 13)
  return bytes
}

interface Follower {
  at: number
  send(bytes: Uint8Array): void
  close(): void
  cut(): void
}

export class ScriptedProcess implements ProcessWire {
  readonly id: string
  readonly signals: string[] = []
  readonly sizes: { cols: number; rows: number }[] = []
  readonly runs: { run: string; command: string }[] = []
  /** From where followers asked. */
  readonly asked: number[] = []
  /** What a test lets a shell do with a command. */
  onRun: (run: string, command: string) => void = () => undefined
  /** What a test lets it do with input. */
  onInput: (text: string) => void = () => undefined
  refuse: AppError | undefined
  /** How many more bytes of input it takes; the rest is lost on its way. */
  takes = Number.POSITIVE_INFINITY
  inputIsClosed = false
  removed = false
  readonly #pieces: Piece[] = []
  readonly #followers = new Set<Follower>()
  #input: Uint8Array = new Uint8Array(0)
  #start = 0
  #end = 0
  #ending: object | undefined

  constructor(id = 'proc0123456789abcdef') {
    this.id = id
  }

  get input(): string {
    return new TextDecoder().decode(this.#input)
  }

  get followers(): number {
    return this.#followers.size
  }

  get record(): ProcessRecord {
    return {
      id: this.id,
      pid: 7,
      argv: ['/bin/sh'],
      started_at: '2026-11-20T00:00:00.000Z',
      state: this.#ending === undefined ? 'running' : 'exited',
      tty: true,
      output_start: this.#start,
      output_end: this.#end,
      stdin_end: this.#input.length,
      ...(this.#ending === undefined ? {} : { ending: this.#ending as ProcessRecord['ending'] }),
    } as ProcessRecord
  }

  print(content: string | Uint8Array, kind: Kind = 'stdout'): void {
    const bytes = typeof content === 'string' ? encoder.encode(content) : content
    this.#pieces.push({ kind, at: this.#end, bytes })
    this.#end += bytes.length
    for (const follower of this.#followers) this.#serve(follower)
  }

  mark(mark: object): void {
    this.print(JSON.stringify(mark), 'mark')
  }

  /** Drops what it printed before this offset. */
  forgetUntil(offset: number): void {
    this.#start = offset
  }

  end(exitCode: number): void {
    this.#ending = { exit_code: exitCode, timed_out: false, duration_ms: 12 }
    for (const follower of this.#followers) this.#serve(follower)
  }

  /** Cuts all that follow it. */
  cut(): void {
    for (const follower of [...this.#followers]) {
      this.#followers.delete(follower)
      follower.cut()
    }
  }

  type(text: string): void {
    this.#take(encoder.encode(text))
  }

  /** Output from an offset on, and records of input: what a POST of /processes/attach is. */
  follow(
    from: number,
    follower: Pick<Follower, 'send' | 'close' | 'cut'>,
  ): { take(input: Uint8Array): void; stop(): void } {
    this.asked.push(from)
    const all = { ...follower, at: Math.min(from, this.#end) }
    this.#followers.add(all)
    this.#serve(all)
    let rest: Uint8Array = new Uint8Array(0)
    const take = (input: Uint8Array) => {
      rest = joined(rest, input)
      for (;;) {
        const view = new DataView(rest.buffer, rest.byteOffset, rest.byteLength)
        const length = rest.length < 5 ? Number.POSITIVE_INFINITY : view.getUint32(1)
        if (!this.#followers.has(all) || rest.length < 5 + length) return
        this.#hear(rest[0] as number, rest.slice(5, 5 + length))
        rest = rest.slice(5 + length)
      }
    }
    return { take, stop: () => void this.#followers.delete(all) }
  }

  async attach(from: number, input: ReadableStream, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    if (this.refuse !== undefined) throw this.refuse
    const { promise, resolve } = Promise.withResolvers<ReadableStreamDefaultController<Uint8Array>>()
    const output = new ReadableStream<Uint8Array>({ start: resolve })
    const controller = await promise
    const own = {
      send: (bytes: Uint8Array) => controller.enqueue(bytes),
      close: () => controller.close(),
      cut: () => controller.error(new AppError('runner_disconnected', 'cannot go on: cut')),
    }
    const { take, stop } = this.follow(from, own)
    signal.addEventListener('abort', stop)
    void this.#upload(input, take).then(stop)
    return output
  }

  async status(): Promise<ProcessRecord> {
    return this.#answered()
  }

  async stdin(at: number, bytes: Uint8Array): Promise<ProcessRecord> {
    if (this.refuse !== undefined) throw this.refuse
    if (this.inputIsClosed) throw new AppError('conflict', 'cannot write to the process: its input is closed')
    this.stdinAt(at, bytes)
    return this.record
  }

  stdinAt(at: number, bytes: Uint8Array): void {
    const known = this.#input.length - at
    if (known < 0) throw new AppError('conflict', 'cannot write to the process: bytes before these are missing')
    if (known < bytes.length) this.#take(bytes.subarray(known))
  }

  async signal(signal: string): Promise<ProcessRecord> {
    this.signals.push(signal)
    return this.#answered()
  }

  async run(run: string, command: string): Promise<ProcessRecord> {
    if (this.refuse !== undefined) throw this.refuse
    this.runs.push({ run, command })
    this.onRun(run, command)
    return this.record
  }

  async remove(): Promise<ProcessRecord> {
    this.removed = true
    this.end(137)
    return this.#answered()
  }

  #answered(): ProcessRecord {
    if (this.refuse !== undefined) throw this.refuse
    return this.record
  }

  async #upload(input: ReadableStream<Uint8Array>, take: (bytes: Uint8Array) => void): Promise<void> {
    const reader = input.getReader()
    for (;;) {
      const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }))
      if (done || value === undefined) return
      take(value)
    }
  }

  #serve(follower: Follower): void {
    if (follower.at < this.#start) {
      const lost = new Uint8Array(8)
      new DataView(lost.buffer).setBigUint64(0, BigInt(this.#start - follower.at))
      follower.at = this.#start
      follower.send(outputRecord(4, follower.at, lost))
    }
    for (const { kind, at, bytes } of this.#pieces) {
      if (at + bytes.length <= follower.at) continue
      const part = bytes.subarray(Math.max(0, follower.at - at))
      follower.send(outputRecord(kinds[kind], Math.max(at, follower.at), part))
      follower.at = at + bytes.length
    }
    if (this.#ending === undefined) return
    this.#followers.delete(follower)
    follower.send(outputRecord(3, this.#end, encoder.encode(JSON.stringify(this.#ending))))
    follower.close()
  }

  #hear(kind: number, payload: Uint8Array): void {
    if (kind === 0) this.#take(payload)
    else if (kind === 2) this.sizes.push(JSON.parse(new TextDecoder().decode(payload)))
    else if (kind === 3) this.signals.push(new TextDecoder().decode(payload))
  }

  #take(bytes: Uint8Array): void {
    const taken = bytes.subarray(0, Math.min(bytes.length, this.takes))
    this.takes -= taken.length
    if (taken.length === 0) return
    this.#input = joined(this.#input, taken)
    this.onInput(new TextDecoder().decode(taken))
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const whole = new Uint8Array(first.length + second.length)
  whole.set(first)
  whole.set(second, first.length)
  return whole
}
