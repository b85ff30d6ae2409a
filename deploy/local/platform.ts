/**
 * The whole platform on one machine: the front door in workerd and its runners, each a process of its own.
 *
 *   openPlatform: identity ─▶ front door ─▶ account, keys, enrolment ─▶ runners ─▶ all connected
 *   close:        runners drain and stop ─▶ front door stops
 *
 * It owns these processes and what is in its state folder. Whoever opened it closes it.
 */

import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { Admin } from './admin.ts'
import type { Child } from './child.ts'
import { complete, type Enrolled, enrolmentsOf, loadIdentity } from './identity.ts'
import { LocalRunner } from './runner.ts'
import { type FrontDoor, openFrontDoor } from './workerd.ts'

export type { Admin, InUseSeen, RunnerSeen } from './admin.ts'

export interface PlatformOptions {
  readonly stateDir: string
  /** 0 takes any free port. */
  readonly port?: number
  /** Served also where it has no runner of the platform's own. */
  readonly region?: string
  readonly runners?: number
  /** The region of each runner, such as `us`, `us`, `eu`; unless given, as many runners of one region as `runners` says. */
  readonly fleet?: readonly string[]
  readonly accelerator?: 'auto' | 'kvm' | 'tcg'
  /** Machines that stand ready for each template, on each runner; what the runner thinks best, unless given. */
  readonly poolSize?: number
  /** What runners allow: the text of a `portico.yaml`, or its file. Without one they boot presets and pull nothing. */
  readonly policy?: { readonly text: string } | { readonly file: string }
  /** What the configuration of each runner says beyond that, such as its room. */
  readonly runnerSettings?: readonly Readonly<Record<string, unknown>>[]
  /**
   * The port on this machine through which a runner, numbered from 0, reaches the front door, given the front door's own: a test puts a relay
   * in between.
   */
  readonly tunnelPort?: (frontDoor: number, runner: number) => Promise<number>
  /** More variables of the Worker. */
  readonly variables?: Readonly<Record<string, string>>
  /** Another entry point of the Worker. */
  readonly worker?: string
  /** What the Worker may reach, as workerd calls networks; the public internet unless told. */
  readonly networks?: readonly string[]
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
  /** A key of the account for each region; `apiKey` is the first one's. */
  readonly apiKeys: Readonly<Record<string, string>>
  readonly account: string
  readonly admin: Admin
  /** Its parts, for tests that stop or kill one. */
  readonly frontDoor: FrontDoor
  /** The processes of the runners that run or ran last. */
  readonly runners: readonly Child[]
  /** The same runners, as they are enrolled and where they keep what they have. */
  readonly fleet: readonly { readonly id: string; readonly region: string; readonly stateDir: string }[]
  /** Resolves with the name of a part that ended without being asked. */
  readonly failed: Promise<string>
  /** Ends a runner, numbered from 0, as a crash does: its machines run on. */
  killRunner(index: number): Promise<void>
  /** Ends a runner in order. */
  stopRunner(index: number): Promise<void>
  /** Starts a runner that was ended, on its state. */
  startRunner(index: number): Promise<void>
  /** Ends the front door as a crash does. */
  killFrontDoor(): Promise<void>
  /** Stops the front door, if it runs, and starts it again on the same port and storage. */
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

const frontDoorLimitMs = 3000
const connectLimitMs = 20_000

class LocalPlatform implements Platform {
  readonly stateDir: string
  readonly failed: Promise<string>
  readonly #options: PlatformOptions
  /** The region of each runner. */
  readonly #regions: readonly string[]
  readonly #runners: LocalRunner[] = []
  #reportFailure: (name: string) => void = () => undefined
  /** Front doors that were asked to end. */
  readonly #ending = new Set<Child>()
  #closing: Promise<void> | undefined
  #frontDoor: FrontDoor | undefined
  #admin: Admin | undefined
  #apiKeys: Readonly<Record<string, string>> = {}
  #account = ''
  #adminKey = ''
  #secret = ''

  constructor(options: PlatformOptions) {
    this.#options = options
    this.stateDir = options.stateDir
    const { region = 'local', runners = 1 } = options
    this.#regions = options.fleet ?? Array.from({ length: runners }, () => region)
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
    return this.#apiKeys[this.#regions[0] ?? ''] ?? ''
  }

  get apiKeys(): Readonly<Record<string, string>> {
    return this.#apiKeys
  }

  get account(): string {
    return this.#account
  }

  get adminKey(): string {
    return this.#adminKey
  }

  get admin(): Admin {
    this.#admin ??= new Admin(this.url, this.#adminKey)
    return this.#admin
  }

  get appDomain(): string {
    return `app.localhost:${this.frontDoor.port}`
  }

  get sandboxDomain(): string {
    return `sandbox.localhost:${this.frontDoor.port}`
  }

  get runners(): readonly Child[] {
    return this.#runners.map(({ child }) => child)
  }

  get fleet(): Platform['fleet'] {
    return this.#runners.map(({ id, stateDir }, index) => ({ id, stateDir, region: this.#regions[index] ?? '' }))
  }

  async open(): Promise<void> {
    await mkdir(this.stateDir, { recursive: true })
    await chmod(this.stateDir, 0o700)
    const found = await loadIdentity(this.stateDir)
    this.#adminKey = found.adminKey
    this.#secret = found.secret
    await this.#step('front door', () => this.#openFrontDoor(this.#options.port ?? 0))
    const identity = await complete(this.stateDir, found, this.admin, this.#regions)
    this.#apiKeys = Object.fromEntries(this.#regions.map((region) => [region, identity.apiKeys[region] ?? '']))
    this.#account = identity.account ?? ''
    const count = this.#regions.length
    await this.#step(count === 1 ? 'runner' : `${count} runners`, async () => {
      const enrolled = enrolmentsOf(identity, this.#regions)
      for (const [index, runner] of enrolled.entries()) await this.#addRunner(runner, index)
      await Promise.race([
        this.#allConnected(),
        ...this.runners.map((child) => child.whileRunning(new Promise<void>(() => undefined))),
      ])
    })
  }

  killRunner(index: number): Promise<void> {
    return this.#runner(index).kill()
  }

  stopRunner(index: number): Promise<void> {
    return this.#runner(index).stop()
  }

  startRunner(index: number): Promise<void> {
    return this.#runner(index).start()
  }

  async killFrontDoor(): Promise<void> {
    const { child } = this.frontDoor
    this.#ending.add(child)
    child.kill('SIGKILL')
    await child.exited
  }

  async restartFrontDoor(): Promise<void> {
    const { port, child } = this.frontDoor
    await this.#stopFrontDoor(child)
    await this.#openFrontDoor(port)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.all(this.#runners.map((runner) => runner.close()))
    if (this.#frontDoor) await this.#stopFrontDoor(this.#frontDoor.child)
  }

  async #openFrontDoor(port: number): Promise<void> {
    const { region, worker, networks, variables } = this.#options
    const regions = [...new Set([...this.#regions, ...(region === undefined ? [] : [region])])].join(',')
    const frontDoor = await openFrontDoor({
      directory: join(this.stateDir, 'edge'),
      port,
      variables: {
        // Without a port: URLs have the one that their caller came to, which may be any free one.
        APP_URL: 'http://app.localhost',
        SANDBOX_URL: 'http://sandbox.localhost',
        ...variables,
        PORTICO_SECRET: this.#secret,
        ADMIN_KEY: this.#adminKey,
        REGIONS_SERVED: regions,
      },
      ...(worker === undefined ? {} : { worker }),
      ...(networks === undefined ? {} : { networks }),
      log: this.#log,
    })
    this.#frontDoor = frontDoor
    void frontDoor.child.exited.then(() => {
      if (!this.#ending.has(frontDoor.child)) this.#reportFailure(frontDoor.child.name)
    })
  }

  async #addRunner(enrolled: Enrolled, index: number): Promise<void> {
    const { accelerator = 'auto', poolSize, runnerSettings, tunnelPort, policy } = this.#options
    const { port } = this.frontDoor
    const runner = new LocalRunner({
      name: this.#regions.length === 1 ? 'the runner' : `runner ${index + 1}`,
      directory: join(this.stateDir, `runner-${index + 1}`),
      enrolled,
      tunnelPort: (await tunnelPort?.(port, index)) ?? port,
      ...(policy === undefined ? {} : { policy }),
      settings: { accelerator, ...(poolSize === undefined ? {} : { poolSize }), ...runnerSettings?.[index] },
      log: this.#log,
      onFailure: this.#reportFailure,
    })
    await runner.start()
    this.#runners.push(runner)
  }

  async #allConnected(): Promise<void> {
    const limit = AbortSignal.timeout(connectLimitMs)
    for (;;) {
      const seen = (await this.admin.runners()).filter((runner) => runner.connected).map(({ id }) => id)
      const connected = new Set(seen)
      if (this.#runners.every(({ id }) => connected.has(id))) return
      if (limit.aborted)
        throw new Error('cannot start: a runner did not connect to the front door in time; its log says why')
      await wait(25)
    }
  }

  #runner(index: number): LocalRunner {
    const runner = this.#runners[index]
    if (!runner) throw new Error(`the platform has no runner ${index}`)
    return runner
  }

  async #stopFrontDoor(child: Child): Promise<void> {
    this.#ending.add(child)
    await child.stop(frontDoorLimitMs)
  }

  readonly #log = (text: string): void => this.#options.log?.(text)

  async #step(name: string, run: () => Promise<void>): Promise<void> {
    const start = performance.now()
    await run()
    this.#options.onStep?.(name, performance.now() - start)
  }
}
