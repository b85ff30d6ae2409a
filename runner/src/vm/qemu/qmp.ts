/**
 * A client of QEMU's control protocol (QMP) on one connection.
 *
 *   greeting ──▶ negotiated ──▶ closed
 *
 * Each command has an id of its own and a time limit, so answers may come in any order and events in between. It owns the socket: the first thing
 * that breaks the protocol, and the socket's end, close it and fail every command under way.
 */

import type { Duplex } from 'node:stream'
import { type Clock, systemClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { broken, QmpLines } from './qmp-lines.ts'

export interface QmpEvent {
  readonly name: string
  readonly data: Readonly<Record<string, unknown>>
}

export interface QmpOptions {
  readonly onEvent?: (event: QmpEvent) => void
  /** For each command unless it says otherwise. */
  readonly limitMs?: number
  readonly clock?: Clock
}

/** QEMU understood the command and refused it. */
export class QmpRefusal extends AppError {
  /** QEMU's name for the kind of error, such as `GenericError`. */
  readonly kind: string

  constructor(command: string, kind: string, text: string) {
    super('internal', `cannot run ${command}: the virtual machine refused`, { cause: text })
    this.kind = kind
  }
}

interface Waiting {
  readonly command: string
  readonly resolve: (value: unknown) => void
  readonly reject: (error: AppError) => void
  readonly cancelTimer: () => void
}

const defaultLimitMs = 5000

export class Qmp {
  /** Resolves when the connection is over: with the error, or undefined after `close()`. */
  readonly closed: Promise<AppError | undefined>
  readonly #socket: Duplex
  readonly #lines = new QmpLines()
  readonly #waiting = new Map<number, Waiting>()
  readonly #options: QmpOptions
  readonly #clock: Clock
  #settleClosed: (error: AppError | undefined) => void = () => undefined
  #greeted: (() => void) | undefined
  #ended: { readonly error: AppError | undefined } | undefined
  #lastId = 0

  private constructor(socket: Duplex, options: QmpOptions) {
    this.#socket = socket
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve
    })
    socket.on('data', (bytes: Uint8Array) => this.#receive(bytes))
    socket.on('error', (cause) => this.#end(gone(cause)))
    socket.on('close', () => this.#end(gone()))
    socket.on('end', () => this.#end(gone()))
  }

  /** Takes the socket over, waits for QEMU's greeting and enters command mode. */
  static async open(socket: Duplex, options: QmpOptions = {}): Promise<Qmp> {
    const qmp = new Qmp(socket, options)
    try {
      await qmp.#greeting()
      await qmp.execute('qmp_capabilities')
      return qmp
    } catch (error) {
      qmp.close()
      throw error
    }
  }

  /** Runs one command; resolves with its `return` value. Rejects with QmpRefusal if QEMU says no. */
  execute(command: string, args?: Readonly<Record<string, unknown>>, limitMs = this.#limitMs): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended.error ?? broken('it is closed'))
      const id = ++this.#lastId
      const cancelTimer = this.#clock.after(limitMs, () => {
        this.#waiting.delete(id)
        reject(
          new AppError('deadline', `cannot run ${command}: the virtual machine gave no answer within ${limitMs} ms`),
        )
      })
      this.#waiting.set(id, { command, resolve, reject, cancelTimer })
      this.#socket.write(`${JSON.stringify({ execute: command, ...(args ? { arguments: args } : {}), id })}\n`)
    })
  }

  /** Closes the connection; commands under way fail. Repeating it does nothing. */
  close(): void {
    this.#end(undefined)
  }

  get #limitMs(): number {
    return this.#options.limitMs ?? defaultLimitMs
  }

  #greeting(): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(this.#limitMs, () =>
        reject(new AppError('deadline', `cannot control the virtual machine: no greeting within ${this.#limitMs} ms`)),
      )
      this.#greeted = () => {
        cancel()
        resolve()
      }
      void this.closed.then((error) => {
        cancel()
        reject(error ?? broken('it is closed'))
      })
    })
  }

  #receive(bytes: Uint8Array): void {
    if (this.#ended) return
    try {
      for (const message of this.#lines.push(bytes)) this.#handle(message)
    } catch (error) {
      this.#end(AppError.from(error))
    }
  }

  #handle(message: Record<string, unknown>): void {
    if (this.#greeted) {
      if (!('QMP' in message)) throw broken('it did not greet')
      this.#greeted()
      this.#greeted = undefined
    } else if (typeof message.event === 'string') {
      this.#options.onEvent?.({ name: message.event, data: asObject(message.data) })
    } else {
      this.#answer(message)
    }
  }

  #answer(message: Record<string, unknown>): void {
    const waiting = typeof message.id === 'number' ? this.#waiting.get(message.id) : undefined
    if (!waiting) {
      // The answer to a command that ran out of time.
      if (typeof message.id === 'number' && message.id >= 1 && message.id <= this.#lastId) return
      throw broken('it answered a command that was not given')
    }
    this.#waiting.delete(message.id as number)
    waiting.cancelTimer()
    if ('return' in message) waiting.resolve(message.return)
    else waiting.reject(refusal(waiting.command, asObject(message.error)))
  }

  #end(error: AppError | undefined): void {
    if (this.#ended) return
    this.#ended = { error }
    this.#socket.destroy()
    for (const waiting of this.#waiting.values()) {
      waiting.cancelTimer()
      waiting.reject(error ?? broken('it is closed'))
    }
    this.#waiting.clear()
    this.#settleClosed(error)
  }
}

function gone(cause?: unknown): AppError {
  return new AppError('sandbox_failed', 'cannot control the virtual machine: its control socket closed', { cause })
}

function refusal(command: string, { class: kind, desc }: Record<string, unknown>): QmpRefusal {
  return new QmpRefusal(command, String(kind ?? 'unknown'), String(desc ?? 'no reason given'))
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
