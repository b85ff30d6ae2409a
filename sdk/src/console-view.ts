/** One viewer of a console: the scrollback, then what comes; a connection that breaks is made again, and the view goes on where it stood. */

import { consoleEvent } from '@portico/shared/api'
import { CallScope } from './call-scope.ts'
import { makeError } from './errors.ts'
import { shortMs, silenceSec } from './limits.ts'
import { Line, type LineItem } from './line.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

export interface AttachOptions extends CallOptions {
  /** Of a link, in place of the key. */
  readonly token?: string | undefined
  /** The offset of the first byte that is wanted; all scrollback unless told. */
  readonly from?: number | undefined
  /** For how long the platform may be out of reach before the view is given up, in seconds; 300 unless told. */
  readonly silenceSec?: number | undefined
}

/** What a viewer is told. */
export type ConsoleViewEvent =
  | { readonly type: 'output'; readonly bytes: Uint8Array }
  /** The scrollback is over; what comes now is new. */
  | { readonly type: 'live' }
  /** The size of the screen that all share. */
  | { readonly type: 'size'; readonly cols: number; readonly rows: number }
  | { readonly type: 'viewers'; readonly count: number }
  /** So many bytes are gone for good. */
  | { readonly type: 'gap'; readonly lost: number }
  /** Whether the sandbox is reached right now. */
  | { readonly type: 'link'; readonly state: 'connected' | 'reconnecting'; readonly reason: string | undefined }
  | { readonly type: 'exit'; readonly exitCode: number; readonly signal: string | undefined }

export class ConsoleView implements AsyncIterable<ConsoleViewEvent> {
  /** Whether it may type. */
  readonly access: 'read' | 'write'
  /** The screen as it was found. */
  readonly cols: number
  readonly rows: number
  readonly #line: Line
  readonly #items: AsyncGenerator<LineItem, void>
  readonly #scope: CallScope
  readonly #life: AbortController

  private constructor(
    joined: { access: 'read' | 'write'; cols: number; rows: number },
    line: Line,
    items: AsyncGenerator<LineItem, void>,
    scope: CallScope,
    life: AbortController,
  ) {
    this.access = joined.access
    this.cols = joined.cols
    this.rows = joined.rows
    this.#line = line
    this.#items = items
    this.#scope = scope
    this.#life = life
  }

  /** @internal Made by Consoles alone. */
  static async open(transport: Transport, consolePath: string, options: AttachOptions): Promise<ConsoleView> {
    const life = new AbortController()
    const scope = new CallScope('attach to the console', options.signal, life.signal)
    scope.limit(shortMs)
    try {
      const line = await Line.open(transport, {
        doing: 'attach to the console',
        path: `${consolePath}/attach`,
        query: (from = options.from) => (from === undefined ? {} : { from: String(from) }),
        token: options.token,
        last: 'exit',
        silenceSec: options.silenceSec ?? silenceSec,
        signal: scope.signal,
      })
      const items = line.items()
      const first = await items.next()
      const joined =
        first.done === true || !('said' in first.value) ? undefined : consoleEvent.safeParse(first.value.said)
      if (joined?.data?.type !== 'joined') throw unreadable()
      scope.unlimited()
      return new ConsoleView(joined.data, line, items, scope, life)
    } catch (error) {
      scope.end()
      throw error
    }
  }

  /** The offset behind what was read: from there another view can go on. */
  get offset(): number {
    return this.#line.offset ?? 0
  }

  /** What the viewer is told, once: it can be read by one reader. It ends with `exit`. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ConsoleViewEvent, void> {
    for (;;) {
      const next = await this.#items.next()
      if (next.done === true) return
      const event = 'bytes' in next.value ? { type: 'output' as const, bytes: next.value.bytes } : told(next.value.said)
      if (event !== undefined) yield event
    }
  }

  /** Types. */
  async write(input: string | Uint8Array): Promise<void> {
    await this.#line.send(typeof input === 'string' ? new TextEncoder().encode(input) : input)
  }

  /** Changes the size of the screen, for all who look. */
  async resize(cols: number, rows: number): Promise<void> {
    await this.#line.send(JSON.stringify({ type: 'resize', cols, rows }))
  }

  /** Looks away; the console stays. */
  close(): void {
    this.#line.close()
    this.#life.abort(
      makeError({
        code: 'cancelled',
        message: 'cannot follow the console: the view is closed',
        status: 0,
        retryable: false,
      }),
    )
    this.#scope.end()
  }

  /** `await using` looks away at the end of the block. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }
}

function told(said: unknown): ConsoleViewEvent | undefined {
  const { data: event } = consoleEvent.safeParse(said)
  switch (event?.type) {
    case 'live':
    case 'size':
    case 'viewers':
      return event
    case 'gap':
      return { type: 'gap', lost: event.bytes }
    case 'link':
      return { type: 'link', state: event.state, reason: event.reason }
    case 'exit':
      return { type: 'exit', exitCode: event.exit_code, signal: event.signal }
    default:
      // A newer platform's, or a socket that was made again.
      return undefined
  }
}

function unreadable() {
  const message = 'cannot attach to the console: the platform says nothing of it'
  return makeError({ code: 'protocol_error', message, status: 0, retryable: false })
}
