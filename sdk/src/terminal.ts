/** A terminal in a sandbox over a socket, with a program on it: for people, byte for byte. It outlives its socket for a while, and is reached again by itself. */

import { CallScope } from './call-scope.ts'
import { Deferred } from './deferred.ts'
import { makeError } from './errors.ts'
import { shortMs, silenceSec } from './limits.ts'
import { Line, type LineItem } from './line.ts'
import type { Transport } from './transport.ts'

export interface TerminalOptions {
  readonly cols?: number | undefined
  readonly rows?: number | undefined
  /** A line for the shell; the sandbox's own shell unless told. */
  readonly command?: string | undefined
  readonly cwd?: string | undefined
  readonly user?: string | undefined
  /** Seconds that it lives on without a connection; 60 unless told, at most a day. */
  readonly lingerSec?: number | undefined
  /** Attaches to the terminal of this session again, in place of a new one. */
  readonly session?: string | undefined
  /** Is told how many bytes of output are gone for good. */
  readonly onGap?: ((lost: number) => void) | undefined
  /** For how long it may be out of reach before it is given up, in seconds; 300 unless told. */
  readonly silenceSec?: number | undefined
  /** Ends the call, and lets go of the terminal. */
  readonly signal?: AbortSignal | undefined
}

/** How the program on a terminal ended. */
export interface TerminalExit {
  readonly exitCode: number
  readonly signal: string | undefined
}

interface Size {
  cols: number | undefined
  rows: number | undefined
}

export class Terminal implements AsyncIterable<Uint8Array> {
  /** By which it is attached to again. */
  readonly session: string
  readonly #line: Line
  readonly #items: AsyncGenerator<LineItem, void>
  readonly #onGap: ((lost: number) => void) | undefined
  readonly #scope: CallScope
  readonly #life: AbortController
  /** What a socket that is made again is asked for. */
  readonly #size: Size
  readonly #exit = new Deferred<TerminalExit>()
  #isRead = false

  private constructor(
    session: string,
    line: Line,
    items: AsyncGenerator<LineItem, void>,
    scope: CallScope,
    life: AbortController,
    size: Size,
    onGap: TerminalOptions['onGap'],
  ) {
    this.session = session
    this.#line = line
    this.#items = items
    this.#scope = scope
    this.#life = life
    this.#size = size
    this.#onGap = onGap
    // Who does not wait for the end is not told of a line that was lost.
    this.#exit.promise.catch(() => undefined)
  }

  /** @internal Made by Sandbox alone. */
  static async open(transport: Transport, sandboxPath: string, options: TerminalOptions): Promise<Terminal> {
    const life = new AbortController()
    const scope = new CallScope('open a terminal', options.signal, life.signal)
    let session = options.session
    const size = { cols: options.cols, rows: options.rows }
    scope.limit(shortMs)
    try {
      const line = await Line.open(transport, {
        doing: 'open a terminal',
        path: `${sandboxPath}/terminal`,
        query: (from) => query({ ...options, ...size }, session, from),
        last: 'exit',
        silenceSec: options.silenceSec ?? silenceSec,
        signal: scope.signal,
      })
      const items = line.items()
      const first = await items.next()
      const said = first.done !== true && 'said' in first.value ? first.value.said : undefined
      if (said?.type !== 'session' || typeof said.id !== 'string') throw unreadable()
      session = said.id
      scope.unlimited()
      return new Terminal(session, line, items, scope, life, size, options.onGap)
    } catch (error) {
      scope.end()
      throw error
    }
  }

  /** What the terminal prints, once: it can be read by one reader. It ends when the program does; see `wait`. Leaving the loop leaves the terminal as it is. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    this.#isRead = true
    try {
      for (;;) {
        const next = await this.#items.next()
        if (next.done === true) break
        const bytes = this.#take(next.value)
        if (bytes !== undefined) yield bytes
      }
      this.#exit.reject(gone())
    } catch (error) {
      this.#exit.reject(error)
      throw error
    }
  }

  /** Types. Waits while there is no connection. */
  async write(input: string | Uint8Array): Promise<void> {
    await this.#line.send(typeof input === 'string' ? new TextEncoder().encode(input) : input)
  }

  async resize(cols: number, rows: number): Promise<void> {
    Object.assign(this.#size, { cols, rows })
    await this.#line.send(JSON.stringify({ type: 'resize', cols, rows }))
  }

  /** Waits for the end of the program; what nobody reads is dropped meanwhile. */
  async wait(): Promise<TerminalExit> {
    if (!this.#isRead) for await (const _bytes of this);
    return await this.#exit.promise
  }

  /** Lets go of it; the program lives on for `lingerSec`, within which `session` finds it. */
  detach(): void {
    this.#line.close()
    this.#life.abort(gone())
    this.#scope.end()
  }

  /** `await using` lets go of it at the end of the block. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.detach()
  }

  #take(item: LineItem): Uint8Array | undefined {
    if ('bytes' in item) return item.bytes
    const { said } = item
    if (said.type === 'gap') this.#onGap?.(Number(said.bytes))
    if (said.type === 'exit') {
      const signal = typeof said.signal === 'string' ? said.signal : undefined
      this.#exit.resolve({ exitCode: Number(said.exit_code), signal })
    }
    return undefined
  }
}

function query(
  { cols, rows, command, cwd, user, lingerSec }: TerminalOptions,
  session: string | undefined,
  from: number | undefined,
): Record<string, string> {
  const all =
    session === undefined ? { cols, rows, command, cwd, user, linger: lingerSec } : { cols, rows, session, from }
  const given = Object.entries(all).filter(([, value]) => value !== undefined)
  return Object.fromEntries(given.map(([name, value]) => [name, String(value)]))
}

function unreadable() {
  const message = 'cannot open a terminal: the platform says nothing of a session'
  return makeError({ code: 'protocol_error', message, status: 0, retryable: false })
}

function gone() {
  const message = 'cannot follow the terminal: it was let go'
  return makeError({ code: 'cancelled', message, status: 0, retryable: false })
}
