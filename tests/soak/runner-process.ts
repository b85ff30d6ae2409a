/** The parent's side of `runner-script.ts`. Whoever opens one closes it, or kills it and opens the next on the same folder. */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import type { Guest } from './keeper.ts'
import type { Answered, Calls } from './runner-script.ts'

interface Waiting {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

const openLimitMs = 60_000

export class RunnerProcess {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  readonly #gone: Promise<unknown>
  #last = 0

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#gone = once(child, 'exit')
    child.on('message', (answered: Answered) => this.#answered(answered))
    child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the runner is gone'))
      this.#waiting.clear()
    })
  }

  /** Resolves when its engine is open: what an earlier process left in the folder is taken over then. */
  static async open(stateDir: string): Promise<RunnerProcess> {
    const script = join(import.meta.dirname, 'runner-script.ts')
    const child = fork(script, [stateDir], { execArgv: ['--conditions', 'portico-source'] })
    const runner = new RunnerProcess(child)
    const timer = setTimeout(() => child.kill('SIGKILL'), openLimitMs)
    await new Promise<unknown>((resolve, reject) => runner.#waiting.set(0, { resolve, reject }))
    clearTimeout(timer)
    return runner
  }

  call<Name extends keyof Calls>(call: Name, ...args: Parameters<Calls[Name]>): ReturnType<Calls[Name]> {
    const number = ++this.#last
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject })
      if (this.#child.connected) this.#child.send({ number, call, args })
      else reject(new Error('the runner is gone'))
    }) as ReturnType<Calls[Name]>
  }

  guest(id: string): Guest {
    return {
      run: (shell) => this.call('run', id, shell),
      put: (path, content) => this.call('put', id, path, Buffer.from(content).toString('base64')),
    }
  }

  /** How it ended, once it has. */
  get exited(): NodeJS.Signals | number | null {
    return this.#child.signalCode ?? this.#child.exitCode
  }

  /** Ends it as a crash does: what it runs, runs on. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    if (this.exited === null) await this.#gone
  }

  /** Ends it in order: what it runs is destroyed. */
  async close(): Promise<void> {
    await this.call('close')
    await this.#gone
  }

  #answered({ number, value, error }: Answered): void {
    const waiting = this.#waiting.get(number)
    this.#waiting.delete(number)
    if (error === undefined) waiting?.resolve(value)
    else waiting?.reject(AppError.fromWire(error))
  }
}
