/**
 * A child process of the local platform. It runs in its own process group, so that Ctrl-C reaches only the platform, which then stops its children in
 * order; and it gets SIGTERM if the platform itself dies, so that nothing is left even then.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'

export interface ChildOptions {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly log: (text: string) => void
  /** Opens descriptor 3 for what the child reports of itself. */
  readonly control?: boolean
}

/** How a child ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: string | null
}

export class Child {
  readonly name: string
  /** Resolves when the process is gone. */
  readonly exited: Promise<Exit>
  readonly control: Readable | undefined
  readonly #process: ChildProcess
  #tail = ''

  constructor(options: ChildOptions) {
    this.name = options.name
    this.#process = spawn('setpriv', ['--pdeathsig', 'TERM', options.command, ...options.args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', options.control ? 'pipe' : 'ignore'],
      env: { ...process.env, ...options.env },
    })
    this.control = (this.#process.stdio[3] as Readable | null) ?? undefined
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#tail = (this.#tail + text).slice(-4000)
        options.log(text)
      })
    }
    this.exited = new Promise((resolve) => {
      this.#process.once('error', () => resolve({ code: 127, signal: null }))
      this.#process.once('exit', (code, signal) => resolve({ code, signal }))
    })
  }

  get pid(): number | undefined {
    return this.#process.pid
  }

  /** The last of what it printed, for an error. */
  get tail(): string {
    return this.#tail.trim()
  }

  /** Sends a signal, if the process still runs. */
  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  /** Asks it to end, and ends it after `limitMs`. Resolves when it is gone. */
  async stop(limitMs: number): Promise<Exit> {
    this.kill('SIGTERM')
    const timer = setTimeout(() => this.kill('SIGKILL'), limitMs)
    try {
      return await this.exited
    } finally {
      clearTimeout(timer)
    }
  }

  /** Rejects when the process ends before `promise` settles. */
  async whileRunning<Value>(promise: Promise<Value>): Promise<Value> {
    const ended = this.exited.then(({ code, signal }) => {
      throw new Error(`cannot start ${this.name}: it ended with ${signal ?? `code ${code}`}\n${this.tail}`)
    })
    return await Promise.race([promise, ended])
  }
}
