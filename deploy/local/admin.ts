/** The calls to the admin API that a local platform needs, and those that its tests make. */

/** A runner as the front door sees it. */
export interface RunnerSeen {
  readonly id: string
  readonly region: string
  readonly connected: boolean
  readonly free_slots: number | null
  readonly free_mem_mib: number | null
  readonly sandboxes: number
  readonly drain: { readonly running: number; readonly hibernated: number; readonly done: boolean } | null
}

/** What an account has at once. */
export interface InUseSeen {
  readonly sandboxes: number
  readonly vcpus: number
  readonly mem_mib: number
  readonly snapshots: number
}

const limitMs = 10_000

export class Admin {
  readonly #url: string
  readonly #key: string

  constructor(url: string, key: string) {
    this.#url = url
    this.#key = key
  }

  async createAccount(name: string): Promise<string> {
    const { id } = await this.#call<{ id: string }>('POST', '/admin/accounts', { name })
    return id
  }

  /** The key itself, shown only now. */
  async createKey(account: string, region: string, name: string): Promise<string> {
    const { key } = await this.#call<{ key: string }>('POST', `/admin/accounts/${account}/keys`, { region, name })
    return key
  }

  async enrolRunner(region: string, name: string): Promise<{ id: string; token: string }> {
    return await this.#call('POST', '/admin/runners', { region, name })
  }

  async runners(): Promise<readonly RunnerSeen[]> {
    const { runners } = await this.#call<{ runners: RunnerSeen[] }>('GET', '/admin/runners')
    return runners
  }

  async inUse(account: string): Promise<InUseSeen> {
    const { in_use } = await this.#call<{ in_use: InUseSeen }>('GET', `/admin/accounts/${account}`)
    return in_use
  }

  async drain(runner: string, mode: 'wait' | 'hibernate'): Promise<RunnerSeen> {
    return await this.#call('POST', `/admin/runners/${runner}/drain`, { mode })
  }

  async undrain(runner: string): Promise<RunnerSeen> {
    return await this.#call('POST', `/admin/runners/${runner}/undrain`)
  }

  /** Any other call, as it is answered. */
  fetch(method: string, path: string, body?: unknown): Promise<Response> {
    return fetch(this.#url + path, {
      method,
      headers: { authorization: `Bearer ${this.#key}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(limitMs),
    })
  }

  async #call<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await this.fetch(method, path, body)
    if (!response.ok) throw new Error(`cannot ask the platform: ${method} ${path}: ${await response.text()}`)
    return (await response.json()) as Answer
  }
}
