/** One command of a shell, from the moment it is sent to its end. */

import { Deferred } from './deferred.ts'
import { keptBytes } from './limits.ts'
import type { LineEvent } from './line.ts'
import type { CallOptions } from './sandbox.ts'

export interface ShellRunOptions extends CallOptions {
  /** Is told what it prints on standard output, as it comes. */
  readonly onStdout?: ((text: string) => void) | undefined
  readonly onStderr?: ((text: string) => void) | undefined
}

/** How a command of a shell ended. */
export interface ShellResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
  readonly durationMs: number
  /** Some of its output is missing here: it printed more than is kept (10 Mi characters), or the connection was away for too long. */
  readonly truncated: boolean
}

/** @internal */
export class ShellRun {
  readonly id: string
  /** What has it run. */
  readonly frame: string
  readonly ended: Promise<ShellResult>
  readonly #settle: Deferred<ShellResult>
  readonly #options: ShellRunOptions
  readonly #parts = { stdout: [] as string[], stderr: [] as string[] }
  readonly #room = { stdout: keptBytes, stderr: keptBytes }
  #truncated = false

  constructor(id: string, command: string, options: ShellRunOptions) {
    this.id = id
    this.frame = JSON.stringify({ type: 'run', id, command })
    this.#options = options
    this.#settle = new Deferred()
    this.ended = this.#settle.promise
    this.ended.catch(() => undefined)
  }

  take(stream: 'stdout' | 'stderr', text: string): void {
    const room = this.#room[stream]
    if (text.length > room) this.#truncated = true
    if (room > 0) this.#parts[stream].push(text.slice(0, room))
    this.#room[stream] = Math.max(0, room - text.length)
    const listener = stream === 'stdout' ? this.#options.onStdout : this.#options.onStderr
    try {
      listener?.(text)
    } catch (error) {
      this.fail(error)
    }
  }

  /** Something of its output is gone. */
  miss(): void {
    this.#truncated = true
  }

  end(said: LineEvent): void {
    this.#settle.resolve({
      exitCode: Number(said.exit_code ?? -1),
      stdout: this.#parts.stdout.join(''),
      stderr: this.#parts.stderr.join(''),
      durationMs: Number(said.duration_ms ?? 0),
      truncated: this.#truncated,
    })
  }

  fail(why: unknown): void {
    this.#settle.reject(why)
  }
}
