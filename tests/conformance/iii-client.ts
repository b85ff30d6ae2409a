/** The npm package `iii-sdk` as its users install it, connected to a platform; and what it says of a refusal, read as its page tells to read it. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { clientsFolder, installClients } from './clients.ts'

export type IiiModule = typeof import('./clients/node_modules/iii-sdk/dist/index.mjs')
export type Iii = ReturnType<IiiModule['registerWorker']>

/** The envelope in the message of an error. */
export interface Envelope {
  readonly type: string
  readonly code: string
  readonly message: string
  readonly retryable: boolean
  readonly fix: unknown
}

export interface ExecOutput {
  readonly stdout: string
  readonly stderr: string
  readonly exit_code: number | null
  readonly timed_out: boolean
  readonly duration_ms: number
  readonly success: boolean
}

export interface Listed {
  readonly sandbox_id: string
  readonly name: string | null
  readonly image: string
  readonly age_secs: number
  readonly exec_in_progress: boolean
  readonly stopped: boolean
}

const folder = join(clientsFolder, 'node_modules', 'iii-sdk')

/** A part of the package: its main one, or such as `helpers`. */
export async function iiiPart<Module>(part: string): Promise<Module> {
  await installClients()
  return (await import(pathToFileURL(join(folder, 'dist', `${part}.mjs`)).href)) as Module
}

/** The version that is installed. */
export async function iiiVersion(): Promise<string> {
  return (JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string }).version
}

/** Where a platform listens for iii, with the key in the path, which is the one place that all of the package's sockets keep. */
export function iiiAddress(platformUrl: string, key: string): string {
  return `${platformUrl.replace(/^http/, 'ws')}/iii/${key}`
}

/** What the functions take and answer, for tests: one that fails rejects as the package rejects. */
export class IiiCalls {
  readonly iii: Iii

  constructor(iii: Iii) {
    this.iii = iii
  }

  async trigger<Answer>(function_id: string, payload: unknown, timeoutMs = 60_000): Promise<Answer> {
    return (await this.iii.trigger({ function_id, payload, timeoutMs })) as Answer
  }

  async create(payload: object): Promise<string> {
    const { sandbox_id } = await this.trigger<{ sandbox_id: string }>('sandbox::create', payload, 120_000)
    return sandbox_id
  }

  exec(sandbox_id: string, payload: object, timeoutMs?: number): Promise<ExecOutput> {
    return this.trigger('sandbox::exec', { sandbox_id, ...payload }, timeoutMs)
  }

  async list(): Promise<readonly Listed[]> {
    return (await this.trigger<{ sandboxes: readonly Listed[] }>('sandbox::list', {})).sandboxes
  }

  stop(sandbox_id: string, wait = true): Promise<{ sandbox_id: string; stopped: boolean }> {
    return this.trigger('sandbox::stop', { sandbox_id, wait })
  }

  /** Stops all that there are. */
  async stopAll(): Promise<void> {
    await Promise.all((await this.list()).map(({ sandbox_id }) => this.stop(sandbox_id).catch(() => undefined)))
  }
}

/** The envelope of a call that has to fail, by the page's own expression. */
export async function refusalOf(call: Promise<unknown>): Promise<Envelope> {
  const error = await call.then(
    (value) => Promise.reject(new Error(`the call succeeded: ${JSON.stringify(value)}`)),
    (reason: Error) => reason,
  )
  const found = /^handler error:\s*(\{.*\})/.exec(error.message)?.[1]
  if (found === undefined) throw error
  return JSON.parse(found) as Envelope
}
