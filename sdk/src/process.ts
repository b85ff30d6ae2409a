/**
 * A process that runs on by itself in a sandbox, and its handle: output, input, signals, end. The handle may be lost, and made again from the id; the output that
 * the sandbox keeps of it can be read again from any offset.
 */

import { type ProcessRecord, processRecord } from '@portico/shared/api'
import { type Background, later } from './background.ts'
import { CallScope } from './call-scope.ts'
import { makeError, NotFoundError } from './errors.ts'
import { shortMs, silenceSec, waitSec } from './limits.ts'
import {
  type Followed,
  type FollowOptions,
  follow,
  type PrintedOptions,
  type ProcessExit,
  type ProcessOutput,
  printed,
  withoutEnd,
} from './output.ts'
import { InputWriter, type ProcessInput } from './process-input.ts'
import { Reattachment } from './reattachment.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

/** A process as the platform's record shows it. */
export interface ProcessInfo {
  readonly id: string
  readonly pid: number
  readonly argv: readonly string[]
  readonly startedAt: Date
  readonly state: 'running' | 'exited'
  readonly tty: boolean
  /** The first offset of its output that is still kept. */
  readonly outputStart: number
  readonly outputEnd: number
  /** How many bytes of standard input were taken. */
  readonly stdinEnd: number
  /** How it ended, where it has. */
  readonly exit: ProcessExit | undefined
}

/** What a handle is given beside its process. */
export interface ProcessOptions {
  readonly onGap?: ((lost: number) => void) | undefined
  readonly silenceSec?: number | undefined
  /** Ends the reading and, once it is over, the process. */
  readonly signal?: AbortSignal | undefined
}

export class Process {
  readonly id: string
  readonly pid: number
  readonly argv: readonly string[]
  readonly startedAt: Date
  readonly tty: boolean
  readonly #transport: Transport
  readonly #path: string
  readonly #input: InputWriter
  readonly #silenceSec: number
  readonly #onGap: ((lost: number) => void) | undefined
  readonly #background: Background
  /** Ends what is read through this handle. */
  readonly #scope: CallScope
  readonly #life = new AbortController()
  #owned = true

  /** @internal Made by Sandbox alone. */
  constructor(
    transport: Transport,
    background: Background,
    sandboxPath: string,
    record: ProcessRecord,
    { onGap, silenceSec: allowed = silenceSec, signal }: ProcessOptions = {},
  ) {
    this.id = record.id
    this.pid = record.pid
    this.argv = record.argv
    this.startedAt = new Date(record.started_at)
    this.tty = record.tty
    this.#transport = transport
    this.#background = background
    this.#path = `${sandboxPath}/processes/${encodeURIComponent(record.id)}`
    this.#input = new InputWriter(transport, this.#path, record.stdin_end, allowed)
    this.#silenceSec = allowed
    this.#onGap = onGap
    this.#scope = new CallScope('follow the process', signal, this.#life.signal)
    if (signal) this.#endWith(signal)
  }

  /** Everything that it prints, in the order in which it was printed, from its first byte on. Each loop over it reads anew. */
  get output(): AsyncIterable<ProcessOutput> {
    return this.follow()
  }

  /** What it prints on standard output (a terminal's all), as text. A gap goes to `onGap`; without one the reading fails with `output_lost`. */
  get stdout(): AsyncIterable<string> {
    return this.#text('stdout')
  }

  /** What it prints on standard error, as text, as `stdout`. */
  get stderr(): AsyncIterable<string> {
    return this.#text('stderr')
  }

  /** What it prints from an offset on, until it ends. A connection that breaks is made again, and the reading goes on where it stood. */
  follow(options: FollowOptions = {}): AsyncIterable<ProcessOutput> {
    return { [Symbol.asyncIterator]: () => withoutEnd(this.#follow(options)) }
  }

  /** What is kept of its output now. */
  printed(options: PrintedOptions = {}): AsyncIterable<ProcessOutput> {
    return { [Symbol.asyncIterator]: () => printed(this.#transport, this.#path, options) }
  }

  /** Writes to its standard input, which `stdinOpen` or a terminal keeps open; each byte arrives once. Resolves when the process has been handed all of it. */
  async write(input: ProcessInput, { signal }: CallOptions = {}): Promise<void> {
    await this.#input.write(input, signal)
  }

  /** Ends its standard input. */
  async closeStdin({ signal }: CallOptions = {}): Promise<void> {
    await this.#input.close(signal)
  }

  /** Sends a signal, such as `SIGINT`, to it and to all that it started. */
  async signal(name: string, { signal }: CallOptions = {}): Promise<void> {
    const call = { method: 'POST', path: `${this.#path}/signal`, doing: `send ${name}`, limitMs: shortMs } as const
    await this.#transport.nothing({ ...call, json: { signal: name }, signal })
  }

  /** Ends it at once. Its output is kept. */
  async kill(options: CallOptions = {}): Promise<void> {
    await this.signal('SIGKILL', options)
  }

  /** Changes the size of its terminal. */
  async resize(cols: number, rows: number, { signal }: CallOptions = {}): Promise<void> {
    const call = {
      method: 'POST',
      path: `${this.#path}/resize`,
      doing: 'resize the terminal',
      limitMs: shortMs,
    } as const
    await this.#transport.nothing({ ...call, json: { cols, rows }, signal, repeatable: true })
  }

  /** The record as it is now. */
  async info({ signal }: CallOptions = {}): Promise<ProcessInfo> {
    const call = { method: 'GET', path: this.#path, doing: 'look up the process', limitMs: shortMs } as const
    return processInfo(await this.#transport.json({ ...call, repeatable: true, signal }, processRecord))
  }

  /** Waits for its end, however long that takes. */
  async wait({ signal }: CallOptions = {}): Promise<ProcessExit> {
    const attached = new Reattachment(this.#transport.clock, this.#silenceSec)
    const scope = new CallScope('wait for the process', signal, this.#scope.signal)
    const path = `${this.#path}/wait?timeout=${waitSec}`
    const call = { method: 'GET', path, doing: 'wait for the process', limitMs: waitSec * 1000 + shortMs } as const
    try {
      for (;;) {
        try {
          const { exit } = processInfo(await this.#transport.json({ ...call, signal: scope.signal }, processRecord))
          if (exit !== undefined) return exit
          attached.heard()
        } catch (error) {
          await attached.again(error, scope.signal)
        }
      }
    } finally {
      scope.end()
    }
  }

  /** Ends it, if it runs, and has the sandbox forget it and its output. */
  async delete({ signal }: CallOptions = {}): Promise<void> {
    this.#owned = false
    try {
      await this.#remove(signal, false)
    } catch (error) {
      // It is repeated where the answer was lost, and then there is none left.
      if (!(error instanceof NotFoundError && error.code === 'not_found')) throw error
    } finally {
      this.#let()
    }
  }

  /** Lets go of it: what reads through this handle ends, and the process runs on. `sandbox.process(id)` finds it again. */
  detach(): void {
    this.#owned = false
    this.#let()
  }

  /** `await using` ends the process at the end of the block and has it forgotten, unless it was detached. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#owned) await this.delete()
  }

  /** @internal Its output, and how it ended. */
  async *follows(options: FollowOptions): AsyncGenerator<Followed, void> {
    yield* this.#follow(options)
  }

  /** @internal Ends it in the background, whatever becomes of the client. */
  discard(): Promise<void> {
    if (!this.#owned) return Promise.resolve()
    this.#owned = false
    this.#let()
    const removed = this.#remove(undefined, true)
    later(this.#background, removed)
    return removed
  }

  async *#follow({ signal, ...options }: FollowOptions): AsyncGenerator<Followed, void> {
    const scope = new CallScope('follow the process', signal, this.#scope.signal)
    try {
      yield* follow(this.#transport, this.#path, {
        silenceSec: this.#silenceSec,
        ...options,
        signal: scope.signal,
      })
    } finally {
      scope.end()
    }
  }

  #text(stream: 'stdout' | 'stderr'): AsyncIterable<string> {
    return { [Symbol.asyncIterator]: () => texts(this.#follow({}), stream, this.#onGap ?? refuse) }
  }

  async #remove(signal: AbortSignal | undefined, detached: boolean): Promise<void> {
    const call = { method: 'DELETE', path: this.#path, doing: 'end the process', limitMs: shortMs } as const
    await this.#transport.nothing({ ...call, repeatable: true, signal, detached })
  }

  #endWith(signal: AbortSignal): void {
    const discard = () => void this.discard()
    if (signal.aborted) discard()
    else signal.addEventListener('abort', discard, { once: true, signal: this.#life.signal })
  }

  #let(): void {
    this.#life.abort(detached())
    this.#scope.end()
  }
}

async function* texts(
  all: AsyncGenerator<Followed, void>,
  stream: 'stdout' | 'stderr',
  onGap: (lost: number) => void,
): AsyncGenerator<string, void> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  for await (const item of all) {
    if (item.type === 'gap') onGap(item.lost)
    else if (item.type === stream) {
      const text = decoder.decode(item.bytes, { stream: true })
      if (text !== '') yield text
    }
  }
  const rest = decoder.decode()
  if (rest !== '') yield rest
}

/** @internal */
export function processInfo(record: ProcessRecord): ProcessInfo {
  const { ending } = record
  return {
    id: record.id,
    pid: record.pid,
    argv: record.argv,
    startedAt: new Date(record.started_at),
    state: record.state,
    tty: record.tty,
    outputStart: record.output_start,
    outputEnd: record.output_end,
    stdinEnd: record.stdin_end,
    exit: ending && {
      exitCode: ending.exit_code,
      signal: ending.signal,
      timedOut: ending.timed_out,
      durationMs: ending.duration_ms,
    },
  }
}

function refuse(lost: number): never {
  const message = `cannot read the output of the process: ${lost} bytes of it are no longer kept`
  const hint = 'Pass onGap to spawn, read `output`, or have more kept with bufferBytes.'
  throw makeError({ code: 'output_lost', message, status: 0, retryable: false, hint })
}

function detached() {
  return makeError({
    code: 'cancelled',
    message: 'cannot follow the process: its handle was let go',
    status: 0,
    retryable: false,
  })
}
