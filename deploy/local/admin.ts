/** The calls to the admin API that a new local platform needs. */

export interface RunnerSeen {
  readonly id: string
  readonly connected: boolean
}

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

  async #call<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(this.#url + path, {
      method,
      headers: { authorization: `Bearer ${this.#key}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(10_000),
    })
    if (!response.ok) throw new Error(`cannot set up the platform: ${method} ${path}: ${await response.text()}`)
    return (await response.json()) as Answer
  }
}
