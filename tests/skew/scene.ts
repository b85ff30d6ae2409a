/** A front door and a runner on machines in memory, each of the generation that the test says, and what a user does with them. */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { type FrontDoor, openFrontDoor } from '@portico/deploy/front-door'

export type Generation = 'today' | 'generation 1'

export interface SceneOptions {
  readonly frontDoor: Generation
  readonly runner: Generation
}

const frozen = (name: string) => join(import.meta.dirname, 'frozen-1', name)
const today = resolve(import.meta.dirname, '../../runner/src/testing/fake-runner.ts')

const connectLimitMs = 15_000
const stopLimitMs = 5000

export class Scene implements AsyncDisposable {
  readonly #runnerOf: Generation
  readonly #folder: string
  readonly #frontDoor: FrontDoor
  readonly #adminKey: string
  readonly #printed: string[]
  #token = ''
  #key = ''
  #runner: ChildProcess | undefined

  private constructor(runnerOf: Generation, folder: string, frontDoor: FrontDoor, adminKey: string, printed: string[]) {
    this.#runnerOf = runnerOf
    this.#folder = folder
    this.#frontDoor = frontDoor
    this.#adminKey = adminKey
    this.#printed = printed
  }

  static async open({ frontDoor, runner }: SceneOptions): Promise<Scene> {
    const folder = await mkdtemp(join(tmpdir(), 'portico-skew-'))
    const adminKey = `portico_admin_${randomBytes(32).toString('hex')}`
    const printed: string[] = []
    const opened = await openFrontDoor({
      directory: join(folder, 'edge'),
      port: 0,
      variables: { PORTICO_SECRET: randomBytes(32).toString('hex'), ADMIN_KEY: adminKey, REGIONS_SERVED: 'local' },
      ...(frontDoor === 'today' ? {} : { worker: join(import.meta.dirname, 'generation-1-worker.mjs') }),
      log: (text) => printed.push(text),
    })
    const scene = new Scene(runner, folder, opened, adminKey, printed)
    try {
      await scene.#enrol()
      return scene
    } catch (error) {
      await scene[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Starts the runner and waits until the front door has heard of it. */
  async startRunner(): Promise<void> {
    const url = `ws://127.0.0.1:${this.#frontDoor.port}/v1/runner/tunnel`
    const program =
      this.#runnerOf === 'today' ? ['--conditions', 'portico-source', today] : ['--no-warnings', frozen('runner.mjs')]
    const runner = spawn(process.execPath, [...program, url, this.#token, join(this.#folder, 'runner')])
    runner.stderr.on('data', (bytes: Buffer) => this.#printed.push(String(bytes)))
    this.#runner = runner
    await this.untilConnected(true)
  }

  /** Ends the runner by a signal; resolves once the front door has seen it go. */
  async stopRunner(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const runner = this.#runner
    this.#runner = undefined
    if (!runner || runner.exitCode !== null) return
    const gone = once(runner, 'exit')
    runner.kill(signal)
    const late = setTimeout(() => runner.kill('SIGKILL'), stopLimitMs)
    await gone
    clearTimeout(late)
    await this.untilConnected(false)
  }

  /** Resolves once the front door tells of the runner what is asked. */
  async untilConnected(asked: boolean): Promise<void> {
    const limit = AbortSignal.timeout(connectLimitMs)
    for (;;) {
      const { runners } = await this.admin<{ runners: { connected: boolean }[] }>('GET', '/admin/runners')
      if (runners.length === 1 && runners[0]?.connected === asked) return
      const ended = asked && this.#runner?.exitCode !== null
      if (limit.aborted || ended) throw new Error(`the runner is not ${asked ? 'connected' : 'gone'}\n${this.#tail()}`)
      await wait(25)
    }
  }

  /** How many sockets runners have opened so far. */
  get socketsOpened(): number {
    return this.#printed.join('').split('"event":"tunnel.open"').length - 1
  }

  /** One call of the API; throws with what the parts printed unless it is answered with success. */
  async api(method: string, path: string, body?: object | Uint8Array<ArrayBuffer>): Promise<Response> {
    return await this.#fetch(this.#key, method, path, body)
  }

  async json<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    return (await (await this.api(method, path, body)).json()) as Answer
  }

  async admin<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    return (await (await this.#fetch(this.#adminKey, method, path, body)).json()) as Answer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopRunner('SIGTERM').catch(() => undefined)
    await this.#frontDoor.child.stop(stopLimitMs)
    await rm(this.#folder, { recursive: true, force: true })
  }

  async #enrol(): Promise<void> {
    const account = await this.admin<{ id: string }>('POST', '/admin/accounts', { name: 'skew' })
    const key = { region: 'local', name: 'skew' }
    this.#key = (await this.admin<{ key: string }>('POST', `/admin/accounts/${account.id}/keys`, key)).key
    this.#token = (await this.admin<{ token: string }>('POST', '/admin/runners', key)).token
  }

  async #fetch(key: string, method: string, path: string, body?: object): Promise<Response> {
    const bytes = body instanceof Uint8Array
    const response = await fetch(this.#frontDoor.url + path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': bytes ? 'application/octet-stream' : 'application/json' }),
      },
      ...(body === undefined ? {} : { body: bytes ? (body as Uint8Array<ArrayBuffer>) : JSON.stringify(body) }),
      signal: AbortSignal.timeout(connectLimitMs),
    })
    if (response.ok) return response
    throw new Error(`${method} ${path}: ${response.status} ${await response.text()}\n${this.#tail()}`)
  }

  #tail(): string {
    return this.#printed.join('').slice(-6000)
  }
}
