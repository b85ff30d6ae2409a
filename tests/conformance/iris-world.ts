/**
 * What the printed programs and requests of the Iris documents presume: a platform whose sandboxes have the programs that they start, the client made from
 * the environment, and one sandbox. Notes which blocks were run, so that none is left out.
 */

import { request } from 'node:http'
import * as sdk from '@portico/sdk/iris'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'
import { serviceSettings } from '../kit/service-image.ts'
import { type Snippet, snippetsOf } from './seed-snippets.ts'
import { type Ran, runProgram } from './snippet-run.ts'

export const pages = {
  reference: 'iris-api-reference.txt',
  files: 'iris-files.txt',
  services: 'iris-services.txt',
} as const
export type Page = keyof typeof pages

/** An answer of a sandbox's own host. */
export interface PlaneAnswer {
  readonly status: number
  readonly header: (name: string) => string | undefined
  readonly text: string
  readonly json: Readonly<Record<string, unknown>>
}

export interface PlaneRequest {
  readonly body?: string | Uint8Array | undefined
  readonly headers?: Readonly<Record<string, string>>
  /** In place of the sandbox's own. */
  readonly token?: string
}

export class IrisWorld {
  readonly test: TestPlatform
  readonly client: sdk.IrisClient
  readonly #snippets: Readonly<Record<Page, readonly Snippet[]>>
  readonly #ran = new Set<string>()
  #sandbox: sdk.Sandbox | undefined

  static async open(): Promise<IrisWorld> {
    const names = Object.keys(pages) as Page[]
    const found = await Promise.all(names.map(async (name) => [name, await snippetsOf(pages[name])] as const))
    // The images that the documents name, small: an image goes through the channel of an emulated machine.
    const imageAliases = { 'node:20-slim': 'containers', 'redis:7': 'containers' }
    const runnerSettings = [{ ...(await serviceSettings()), imageAliases }]
    const test = await testPlatform({ runnerSettings, variables: { IRIS_IMAGE: 'services' } })
    process.env.IRIS_API_URL = test.platform.url
    process.env.IRIS_API_KEY = test.platform.apiKey
    return new IrisWorld(test, Object.fromEntries(found) as Record<Page, Snippet[]>)
  }

  constructor(test: TestPlatform, snippets: Readonly<Record<Page, readonly Snippet[]>>) {
    this.test = test
    this.client = new sdk.IrisClient()
    this.#snippets = snippets
  }

  /** The one that the programs call `sandbox`. */
  get sandbox(): sdk.Sandbox {
    if (this.#sandbox === undefined) throw new Error('the program that makes the sandbox has not run')
    return this.#sandbox
  }

  set sandbox(sandbox: sdk.Sandbox) {
    this.#sandbox = sandbox
  }

  /** Runs a printed program; `more` are names that it presumes beside `sandbox` and `client`. */
  async run(page: Page, index: number, more: Readonly<Record<string, unknown>> = {}): Promise<Ran> {
    const world = { sandbox: this.#sandbox, client: this.client, ...more }
    return await runProgram(this.#take(page, index, 'program'), { ...sdk }, world)
  }

  /** Sends a printed request line, `change` being what stands in it for something else. */
  async send(
    page: Page,
    index: number,
    change: readonly [string, string] | undefined,
    init: PlaneRequest = {},
  ): Promise<PlaneAnswer> {
    const line = this.#take(page, index, 'request')
    return await this.ask(change === undefined ? line : line.replace(...change), init)
  }

  /** The text of a printed JSON. */
  json(page: Page, index: number): string {
    return this.#take(page, index, 'json')
  }

  /** The value of a printed JSON that is an answer. */
  sample(page: Page, index: number): Readonly<Record<string, unknown>> {
    return JSON.parse(this.json(page, index)) as Record<string, unknown>
  }

  /** One request to the sandbox's own host, such as `GET /v1/services`, by its host name alone. */
  async ask(line: string, { body, headers, token }: PlaneRequest = {}): Promise<PlaneAnswer> {
    const [method, path] = line.split(' ')
    const { hostname, port } = new URL(this.test.platform.url)
    const authorization = `Bearer ${token ?? (await this.token())}`
    return await new Promise((resolve, reject) => {
      const sent = request({
        host: hostname,
        port,
        method,
        path,
        headers: { host: this.sandbox.domain, authorization, ...headers },
      })
      sent.once('error', reject)
      sent.once('response', (answer) => {
        const parts: Buffer[] = []
        answer.once('error', reject)
        answer.on('data', (part: Buffer) => parts.push(part))
        answer.once('end', () => {
          const text = Buffer.concat(parts).toString()
          const header = (name: string) => answer.headers[name]?.toString()
          const json = header('content-type')?.startsWith('application/json') ? JSON.parse(text) : {}
          resolve({ status: answer.statusCode ?? 0, header, text, json })
        })
      })
      sent.end(body)
    })
  }

  /** A token as the gateway issues it to whoever has the key. */
  async token(id = this.sandbox.id): Promise<string> {
    const answer = await this.test.call('/iris.public.v1.SandboxService/IssueDataPlaneToken', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sandbox_id: id }),
    })
    return ((await answer.json()) as { data_plane_token: string }).data_plane_token
  }

  /** Runs a line in the sandbox; one that fails is a failed test. */
  async shell(line: string): Promise<string> {
    const { ok, stdout, stderr } = await this.sandbox.exec.run(line)
    if (!ok) throw new Error(`${line}: ${stderr}${stdout}`)
    return stdout
  }

  /** The blocks of the documents that were not run. */
  left(): string[] {
    const all = Object.entries(this.#snippets).flatMap(([page, list]) => list.map((_, index) => `${page} ${index}`))
    return all.filter((name) => !this.#ran.has(name))
  }

  async close(): Promise<void> {
    delete process.env.IRIS_API_URL
    delete process.env.IRIS_API_KEY
    await this.test[Symbol.asyncDispose]()
  }

  #take(page: Page, index: number, kind: Snippet['kind']): string {
    const snippet = this.#snippets[page][index]
    if (snippet?.kind !== kind) throw new Error(`block ${index} of ${pages[page]} is no ${kind}`)
    this.#ran.add(`${page} ${index}`)
    return snippet.text
  }
}
