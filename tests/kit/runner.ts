/** The runner of a local platform, ended and started again on its state: what a host does when its runner is upgraded, or is killed. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { paths } from '@portico/deploy/checkout'
import type { Platform } from '@portico/deploy/local'

const limitMs = 30_000

export class RestartableRunner {
  readonly #platform: Platform
  readonly #log: (text: string) => void
  /** The one that runs in place of the platform's own. */
  #child: ChildProcess | undefined

  constructor(platform: Platform, log: (text: string) => void) {
    this.#platform = platform
    this.#log = log
  }

  /** Ends it by a signal and starts it again; resolves once the front door has seen both. */
  async restart(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await this.#end(signal)
    await this.#connected(false)
    const config = join(this.#platform.stateDir, 'runner-1', 'runner.json')
    const command = [process.execPath, '--conditions', 'portico-source', paths.runner, '--config', config]
    const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...command], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', this.#log)
    await this.#connected(true)
  }

  /** Ends what `restart` started. The platform ends its own runner. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child) await this.#end('SIGTERM')
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child
    const [own] = this.#platform.runners
    const running = child ? child.exitCode === null && child.signalCode === null : own !== undefined
    if (!running) return
    const exited = child ? once(child, 'exit') : own?.exited
    const kill = (name: NodeJS.Signals) => (child ?? own)?.kill(name)
    // One that does not end when it is asked to is ended, so that a test fails and does not hang.
    const late = setTimeout(() => kill('SIGKILL'), limitMs)
    try {
      kill(signal)
      await exited
    } finally {
      clearTimeout(late)
    }
  }

  async #connected(wanted: boolean): Promise<void> {
    const limit = AbortSignal.timeout(limitMs)
    const headers = { authorization: `Bearer ${this.#platform.adminKey}` }
    for (;;) {
      const response = await fetch(`${this.#platform.url}/admin/runners`, { headers, signal: limit })
      const { runners } = (await response.json()) as { runners: { connected: boolean }[] }
      if (runners.every(({ connected }) => connected === wanted)) return
      await wait(25, undefined, { signal: limit })
    }
  }
}
