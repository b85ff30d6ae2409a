/** One sandbox on one scripted runner, whose apps do as told: what the tests of ports start from. */

import { exports } from 'cloudflare:workers'
import type { RunRecord } from '@portico/shared/api'
import { afterAll, beforeAll, beforeEach } from 'vitest'
import { answer, newTenant, type Tenant } from './client.ts'
import { type Enrolled, enrol, type Script, ScriptedRunner } from './scripted-runner.ts'

const worker = (exports as unknown as { default: Fetcher }).default

/** A request to any host of the front door, sent as it is. */
export function visit(url: string, init: RequestInit = {}): Promise<Response> {
  return worker.fetch(url, { redirect: 'manual', ...init })
}

/** Registers its own set-up and clean-up. Account, runner and sandbox are of all tests of a file; what the runner does is of the test that runs. */
export class PortScene {
  tenant: Tenant = { account: '', key: '' }
  id = ''
  #enrolled: Enrolled = { id: '', token: '' }
  #runner: ScriptedRunner | undefined
  #shared = ''
  readonly #script: Script = {}

  constructor() {
    beforeAll(async () => {
      this.tenant = await newTenant()
      this.#enrolled = await enrol()
      await this.back()
    })
    beforeEach(() => {
      this.id = this.#shared
    })
    afterAll(() => this.runner.cut())
  }

  get runner(): ScriptedRunner {
    if (this.#runner === undefined) throw new Error('the runner is not connected')
    return this.#runner
  }

  /** The runner dials in and has one sandbox for all tests that change none. */
  async back(): Promise<void> {
    this.#runner = await ScriptedRunner.connect(this.#enrolled, this.#script)
    await this.#runner.report({ free_slots: 100, free_mem_mib: 100_000, total_mem_mib: 100_000 })
    await this.fresh()
    this.#shared = this.id
  }

  /** From now on the runner does this, and has been asked nothing. */
  does(script: Script): void {
    for (const op of Object.keys(this.#script)) delete this.#script[op as keyof Script]
    Object.assign(this.#script, script)
    this.runner.calls.length = 0
  }

  /** Another sandbox, which the test may change. */
  async fresh(more: object = {}): Promise<void> {
    const made = await answer<RunRecord>('/v1/runs', {
      key: this.tenant.key,
      json: { image: 'python', mem_mib: 128, ...more },
    })
    this.id = made.id
  }

  get host(): string {
    return `8080-${this.id}.app.localhost:8787`
  }

  /** A request to the app of port 8080 by its public URL. */
  app(path: string, init: RequestInit = {}): Promise<Response> {
    return visit(`http://${this.host}${path}`, init)
  }

  at(path: string): string {
    return `/v1/runs/${this.id}${path}`
  }

  /** The same app behind the key. */
  proxy(path: string, init: RequestInit & { key?: string } = {}): Promise<Response> {
    const headers = new Headers(init.headers)
    headers.set('authorization', `Bearer ${init.key ?? this.tenant.key}`)
    return visit(`http://portico.test${this.at(`/proxy/8080${path}`)}`, { ...init, headers })
  }

  set(json: object): Promise<Record<string, unknown>> {
    return answer(this.at('/ports/8080'), { method: 'PUT', key: this.tenant.key, json })
  }

  link(json: object = {}): Promise<{ url: string; expires_at: string }> {
    return answer(this.at('/ports/8080/links'), { key: this.tenant.key, json })
  }
}

/** What of a list of headers stands under this name. */
export function valuesOf(headers: readonly (readonly [string, string])[], name: string): string[] {
  return headers.flatMap(([one, value]) => (one === name ? [value] : []))
}
