/**
 * A shell that lives on in a sandbox: folder, variables, functions and jobs persist from one command to the next, and a command costs far less than an `exec`.
 * Commands run one after the other. A connection that breaks is made again; a command that was sent before is not run twice.
 */

import { CallScope } from './call-scope.ts'
import { Deferred } from './deferred.ts'
import { makeError, type PorticoError } from './errors.ts'
import { reported } from './failures.ts'
import { shortMs, silenceSec } from './limits.ts'
import { Line, type LineEvent } from './line.ts'
import { type ShellResult, ShellRun, type ShellRunOptions } from './shell-run.ts'
import type { TerminalOptions } from './terminal.ts'
import type { Transport } from './transport.ts'

export interface ShellOptions
  extends Pick<TerminalOptions, 'cwd' | 'user' | 'lingerSec' | 'session' | 'silenceSec' | 'signal'> {
  /** Is told what is printed while no command runs, by a job in the background. */
  readonly onBackground?: ((text: string) => void) | undefined
}

export class Shell {
  /** By which it is attached to again. */
  readonly session: string
  readonly #line: Line
  readonly #scope: CallScope
  readonly #life: AbortController
  readonly #onBackground: ((text: string) => void) | undefined
  readonly #runs = new Map<string, ShellRun>()
  readonly #closed = new Deferred<number>()
  #next = 1

  private constructor(session: string, line: Line, scope: CallScope, life: AbortController, options: ShellOptions) {
    this.session = session
    this.#line = line
    this.#scope = scope
    this.#life = life
    this.#onBackground = options.onBackground
    this.#closed.promise.catch(() => undefined)
  }

  /** @internal Made by Sandbox alone. */
  static async open(transport: Transport, sandboxPath: string, options: ShellOptions): Promise<Shell> {
    const life = new AbortController()
    const scope = new CallScope('open a shell', options.signal, life.signal)
    let session = options.session
    scope.limit(shortMs)
    try {
      const line = await Line.open(transport, {
        doing: 'open a shell',
        path: `${sandboxPath}/shell`,
        query: (from) => query(options, session, from),
        last: 'closed',
        silenceSec: options.silenceSec ?? silenceSec,
        signal: scope.signal,
      })
      const events = line.items()
      const first = await events.next()
      const said = first.done !== true && 'said' in first.value ? first.value.said : undefined
      if (said?.type !== 'session' || typeof said.id !== 'string') throw unreadable()
      session = said.id
      scope.unlimited()
      const shell = new Shell(session, line, scope, life, options)
      void shell.#listen(events)
      return shell
    } catch (error) {
      scope.end()
      throw error
    }
  }

  /** Runs a line and waits for its end; a non-zero exit code is an ordinary result. Its signal interrupts the command, as Ctrl-C does. */
  async run(command: string, options: ShellRunOptions = {}): Promise<ShellResult> {
    options.signal?.throwIfAborted()
    this.#scope.signal.throwIfAborted()
    const run = new ShellRun(`${this.#name()}`, command, options)
    this.#runs.set(run.id, run)
    const interrupt = () => {
      run.fail(options.signal?.reason)
      void this.signal('SIGINT').catch(() => undefined)
    }
    options.signal?.addEventListener('abort', interrupt, { once: true })
    try {
      await this.#line.send(run.frame)
      return await run.ended
    } finally {
      options.signal?.removeEventListener('abort', interrupt)
      this.#runs.delete(run.id)
    }
  }

  /** Sends a signal to the command that runs. */
  async signal(name: string): Promise<void> {
    await this.#line.send(JSON.stringify({ type: 'signal', signal: name }))
  }

  /** Writes to the command that runs. */
  async write(data: string): Promise<void> {
    await this.#line.send(JSON.stringify({ type: 'stdin', data }))
  }

  /** Ends the shell and all that runs in it, and answers with its exit code. */
  async close(): Promise<number> {
    this.#scope.limit(shortMs)
    await this.#line.send(JSON.stringify({ type: 'close' }))
    return await this.#closed.promise
  }

  /** Lets go of it; it lives on for `lingerSec`, within which `session` finds it. */
  detach(): void {
    this.#end(gone())
  }

  /** `await using` ends the shell at the end of the block, unless it was detached. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#life.signal.aborted) await this.close()
  }

  #name(): string {
    const bytes = crypto.getRandomValues(new Uint32Array(2))
    return `${bytes[0]?.toString(36)}${bytes[1]?.toString(36)}-${this.#next++}`
  }

  async #listen(events: ReturnType<Line['items']>): Promise<void> {
    try {
      for await (const item of events) if ('said' in item) this.#take(item.said)
      this.#end(gone())
    } catch (error) {
      this.#end(error)
    }
  }

  #take(said: LineEvent): void {
    const run = typeof said.id === 'string' ? this.#runs.get(said.id) : undefined
    switch (said.type) {
      case 'session':
        // A new socket: what was on its way over the former one may be lost. The shell knows a command by its id.
        for (const pending of this.#runs.values()) void this.#line.send(pending.frame)
        return
      case 'stdout':
      case 'stderr':
        if (run !== undefined) run.take(said.type, String(said.data))
        else if (said.id === undefined) this.#onBackground?.(String(said.data))
        return
      case 'gap':
        for (const pending of this.#runs.values()) pending.miss()
        return
      case 'exit':
        run?.end(said)
        return
      case 'error':
        if (run === undefined) throw reported(String(said.code), String(said.error))
        run.fail(reported(String(said.code), String(said.error)))
        return
      case 'closed':
        this.#closed.resolve(Number(said.exit_code))
        this.#end(gone())
    }
  }

  #end(why: unknown): void {
    this.#line.close()
    this.#life.abort(why)
    this.#closed.reject(why)
    for (const run of this.#runs.values()) run.fail(why)
    this.#scope.end()
  }
}

function query(
  { cwd, user, lingerSec }: ShellOptions,
  session: string | undefined,
  from: number | undefined,
): Record<string, string> {
  const all = session === undefined ? { cwd, user, linger: lingerSec } : { session, from }
  const given = Object.entries(all).filter(([, value]) => value !== undefined)
  return Object.fromEntries(given.map(([name, value]) => [name, String(value)]))
}

function unreadable(): PorticoError {
  const message = 'cannot open a shell: the platform says nothing of a session'
  return makeError({ code: 'protocol_error', message, status: 0, retryable: false })
}

function gone(): PorticoError {
  const message = 'cannot use the shell: it is over'
  return makeError({ code: 'cancelled', message, status: 0, retryable: false })
}
