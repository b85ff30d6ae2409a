/**
 * The whole platform on one machine: the front door in workerd and its runners, each a process of its own.
 *
 *   openPlatform: identity ─▶ front door ─▶ account, key, enrolment ─▶ runners ─▶ all connected
 *   close:        runners drain and stop ─▶ front door stops
 *
 * It owns these processes and what is in its state folder. Whoever opened it closes it.
 */

import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { paths } from '../checkout.ts'
import { Admin } from './admin.ts'
import { Child } from './child.ts'
import { complete, type Enrolled, loadIdentity } from './identity.ts'
import { type FrontDoor, openFrontDoor } from './workerd.ts'

export interface PlatformOptions {
  readonly stateDir: string
  /** 0 takes any free port. */
  readonly port?: number
  readonly region?: string
  readonly runners?: number
  readonly accelerator?: 'auto' | 'kvm' | 'tcg'
  /** Machines that stand ready for each template, on each runner; what the runner thinks best, unless given. */
  readonly poolSize?: number
  /** The port on this machine through which runners reach the front door, given the front door's own: a test puts a relay in between. */
  readonly tunnelPort?: (frontDoor: number) => Promise<number>
  /** Said as each part is ready, with the milliseconds it took. */
  readonly onStep?: (name: string, ms: number) => void
  /** What the parts print. */
  readonly log?: (text: string) => void
}

/** The facts that a client needs: what `up --json` prints. */
export interface Connection {
  readonly url: string
  readonly apiKey: string
  readonly adminKey: string
  readonly appDomain: string
  readonly sandboxDomain: string
  readonly stateDir: string
}

export interface Platform extends Connection {
  /** Its parts, for tests that stop or kill one. */
  readonly frontDoor: FrontDoor
  readonly runners: readonly Child[]
  /** Resolves with the name of a part that ended without being asked. */
  readonly failed: Promise<string>
  restartFrontDoor(): Promise<void>
  close(): Promise<void>
}

/** Opens a platform, or throws having stopped whatever it had started. */
export async function openPlatform(options: PlatformOptions): Promise<Platform> {
  const platform = new LocalPlatform(options)
  try {
    await platform.open()
    return platform
  } catch (error) {
    await platform.close()
    throw error
  }
}

const drainLimitMs = 20_000
const frontDoorLimitMs = 3000
const connectLimitMs = 20_000

class LocalPlatform implements Platform {
  readonly stateDir: string
  readonly runners: Child[] = []
  readonly failed: Promise<string>
  readonly #options: PlatformOptions
  readonly #region: string
  #reportFailure: (name: string) => void = () => undefined
  /** Children that were asked to end. */
  readonly #ending = new Set<Child>()
  #closing: Promise<void> | undefined
  #frontDoor: FrontDoor | undefined
  #apiKey = ''
  #adminKey = ''
  #secret = ''
  #tunnelPort = 0

  constructor(options: PlatformOptions) {
    this.#options = options
    this.stateDir = options.stateDir
    this.#region = options.region ?? 'local'
    this.failed = new Promise((resolve) => {
      this.#reportFailure = resolve
    })
  }

  get frontDoor(): FrontDoor {
    if (!this.#frontDoor) throw new Error('the front door is not open')
    return this.#frontDoor
  }

  get url(): string {
    return this.frontDoor.url
  }

  get apiKey(): string {
    return this.#apiKey
  }

  get adminKey(): string {
    return this.#adminKey
  }

  get appDomain(): string {
    return `app.localhost:${this.frontDoor.port}`
  }

  get sandboxDomain(): string {
    return `sandbox.localhost:${this.frontDoor.port}`
  }

  async open(): Promise<void> {
    await mkdir(this.stateDir, { recursive: true })
    await chmod(this.stateDir, 0o700)
    const identity = await loadIdentity(this.stateDir)
    this.#adminKey = identity.adminKey
    this.#secret = identity.secret
    await this.#step('front door', () => this.#openFrontDoor(this.#options.port ?? 0))
    this.#tunnelPort = (await this.#options.tunnelPort?.(this.frontDoor.port)) ?? this.frontDoor.port
    const count = this.#options.runners ?? 1
    const admin = new Admin(this.url, this.#adminKey)
    const { apiKeys, runners } = await complete(this.stateDir, identity, admin, this.#region, count)
    this.#apiKey = apiKeys[this.#region] ?? ''
    const enrolled = (runners[this.#region] ?? []).slice(0, count)
    await this.#step(count === 1 ? 'runner' : `${count} runners`, async () => {
      for (const [index, runner] of enrolled.entries()) this.runners.push(await this.#startRunner(runner, index + 1))
      await Promise.race([
        this.#allConnected(admin, enrolled),
        ...this.runners.map((child) => child.whileRunning(new Promise<void>(() => undefined))),
      ])
    })
    for (const child of this.runners) this.#watch(child)
  }

  /** Stops the front door and starts it again on the same port and storage. */
  async restartFrontDoor(): Promise<void> {
    const { port, child } = this.frontDoor
    await this.#stop(child, frontDoorLimitMs)
    await this.#openFrontDoor(port)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.all(this.runners.map((child) => this.#stop(child, drainLimitMs)))
    if (this.#frontDoor) await this.#stop(this.#frontDoor.child, frontDoorLimitMs)
  }

  async #openFrontDoor(port: number): Promise<void> {
    this.#frontDoor = await openFrontDoor({
      directory: join(this.stateDir, 'edge'),
      port,
      variables: { PORTICO_SECRET: this.#secret, ADMIN_KEY: this.#adminKey, REGIONS_SERVED: this.#region },
      log: this.#log,
    })
    this.#watch(this.#frontDoor.child)
  }

  async #startRunner(enrolled: Enrolled, number: number): Promise<Child> {
    const directory = join(this.stateDir, `runner-${number}`)
    await mkdir(directory, { recursive: true })
    const config = join(directory, 'runner.json')
    const { image_aliases } = JSON.parse(await readFile(paths.localConfig, 'utf8')) as { image_aliases: object }
    const settings = {
      edgeUrl: `ws://127.0.0.1:${this.#tunnelPort}/v1/runner/tunnel`,
      token: enrolled.token,
      stateDir: join(directory, 'state'),
      assets: paths.assets,
      accelerator: this.#options.accelerator ?? 'auto',
      imageAliases: image_aliases,
      ...(this.#options.poolSize === undefined ? {} : { poolSize: this.#options.poolSize }),
    }
    await writeFile(config, JSON.stringify(settings, undefined, 2), { mode: 0o600 })
    return new Child({
      name: this.#options.runners === 1 ? 'the runner' : `runner ${number}`,
      command: process.execPath,
      args: ['--conditions', 'portico-source', paths.runner, '--config', config],
      log: this.#log,
    })
  }

  async #allConnected(admin: Admin, enrolled: readonly Enrolled[]): Promise<void> {
    const limit = AbortSignal.timeout(connectLimitMs)
    for (;;) {
      const connected = new Set((await admin.runners()).filter((runner) => runner.connected).map(({ id }) => id))
      if (enrolled.every(({ id }) => connected.has(id))) return
      if (limit.aborted)
        throw new Error('cannot start: a runner did not connect to the front door in time; its log says why')
      await wait(25)
    }
  }

  #watch(child: Child): void {
    void child.exited.then(() => {
      if (!this.#ending.has(child)) this.#reportFailure(child.name)
    })
  }

  async #stop(child: Child, limitMs: number): Promise<void> {
    this.#ending.add(child)
    await child.stop(limitMs)
  }

  readonly #log = (text: string): void => this.#options.log?.(text)

  async #step(name: string, run: () => Promise<void>): Promise<void> {
    const start = performance.now()
    await run()
    this.#options.onStep?.(name, performance.now() - start)
  }
}
