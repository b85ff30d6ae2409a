/**
 * One runner of the local platform: its folder, its configuration and its process, which ends and starts again on the same state.
 *
 *   stopped ──start()──▶ running ──stop(), kill()──▶ stopped
 */

import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { paths } from '../checkout.ts'
import { Child } from './child.ts'
import type { Enrolled } from './identity.ts'

export interface RunnerOptions {
  /** How it is called when it ends unasked. */
  readonly name: string
  readonly directory: string
  readonly enrolled: Enrolled
  /** The port on this machine through which it reaches the front door. */
  readonly tunnelPort: number
  readonly policy?: { readonly text: string } | { readonly file: string }
  /** Of its configuration, what differs from a local runner's. */
  readonly settings: Readonly<Record<string, unknown>>
  readonly log: (text: string) => void
  /** Called when the process ends without being asked. */
  readonly onFailure: (name: string) => void
}

const drainLimitMs = 20_000
const openLimitMs = 30_000

export class LocalRunner {
  readonly id: string
  /** Where its sandboxes and machines are. */
  readonly stateDir: string
  readonly #options: RunnerOptions
  #child: Child | undefined
  #ending = true
  /** It was killed, so what it ran may run still. */
  #abandoned = false

  constructor(options: RunnerOptions) {
    this.#options = options
    this.id = options.enrolled.id
    this.stateDir = join(options.directory, 'state')
  }

  /** The process that runs, or ran last. */
  get child(): Child {
    if (!this.#child) throw new Error(`${this.#options.name} was never started`)
    return this.#child
  }

  /** Starts the process; that it connects is for the caller to wait for. */
  async start(): Promise<void> {
    if (!this.#ending) throw new Error(`cannot start ${this.#options.name}: it runs`)
    const config = await this.#configure()
    const { name, log, onFailure } = this.#options
    const args = ['--conditions', 'portico-source', paths.runner, '--config', config]
    const child = new Child({ name, command: process.execPath, args, log })
    this.#child = child
    this.#ending = false
    this.#abandoned = false
    void child.exited.then(() => {
      if (this.#ending || this.#child !== child) return
      this.#ending = true
      onFailure(name)
    })
  }

  /** Ends it in order: what runs is destroyed, what is hibernated stays. */
  async stop(): Promise<void> {
    this.#ending = true
    await this.#child?.stop(drainLimitMs)
  }

  /** Ends it as a crash does: what it runs, runs on. */
  async kill(): Promise<void> {
    this.#ending = true
    this.#abandoned = true
    this.#child?.kill('SIGKILL')
    await this.#child?.exited
  }

  /** Leaves nothing on this machine but what is hibernated: one that was killed is started once more, to take over what runs and end it. */
  async close(): Promise<void> {
    if (this.#abandoned) {
      await this.start()
      await this.#open()
    }
    await this.stop()
  }

  /** Resolves when the process has taken over what an earlier one left. */
  async #open(): Promise<void> {
    const limit = AbortSignal.timeout(openLimitMs)
    const { child } = this
    const open = async () => {
      while (!child.tail.includes('runner.start')) await wait(25, undefined, { signal: limit })
    }
    await child.whileRunning(open())
  }

  async #policy(): Promise<{ policy?: string }> {
    const { policy, directory } = this.#options
    if (policy === undefined) return {}
    if ('file' in policy) return { policy: resolve(policy.file) }
    const file = join(directory, 'portico.yaml')
    await writeFile(file, policy.text, { mode: 0o600 })
    return { policy: file }
  }

  async #configure(): Promise<string> {
    const { directory, enrolled, tunnelPort, settings } = this.#options
    await mkdir(directory, { recursive: true })
    const config = join(directory, 'runner.json')
    const { image_aliases } = JSON.parse(await readFile(paths.localConfig, 'utf8')) as { image_aliases: object }
    const all = {
      edgeUrl: `ws://127.0.0.1:${tunnelPort}/v1/runner/tunnel`,
      token: enrolled.token,
      stateDir: this.stateDir,
      assets: paths.assets,
      imageAliases: image_aliases,
      ...(await this.#policy()),
      ...settings,
    }
    await writeFile(config, JSON.stringify(all, undefined, 2), { mode: 0o600 })
    return config
  }
}
