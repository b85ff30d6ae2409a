/** The gateway: what happens to whole sandboxes, each a POST of JSON with the API key. */

import { irisSandbox, irisSandboxWithToken, irisToken } from '@portico/shared/api'
import { z } from 'zod'
import { createMs, saveMs, shortMs } from '../limits.ts'
import type { IrisToken } from './tokens.ts'
import { type CallOptions, checked, type Send } from './wire.ts'

/** A sandbox as the gateway tells of it. */
export interface SandboxRecord {
  readonly id: string
  readonly name: string
  readonly domain: string
  readonly state: 'creating' | 'running' | 'suspending' | 'suspended' | 'resuming' | 'terminated' | 'failed'
}

/** One with the token that goes with it. */
export interface Made {
  readonly record: SandboxRecord
  readonly token: IrisToken
}

const one = z.object({ sandbox: irisSandbox })
const many = z.object({ sandboxes: z.array(irisSandbox) })

export class Gateway {
  /** Scheme, host and path, without a slash at its end. */
  readonly baseUrl: string
  readonly send: Send
  readonly #apiKey: string

  constructor(baseUrl: string, apiKey: string, send: Send) {
    this.baseUrl = baseUrl
    this.send = send
    this.#apiKey = apiKey
  }

  async create(name: string | undefined, options: CallOptions): Promise<Made> {
    const body = name === undefined ? {} : { name }
    return made(await this.#call('CreateSandbox', 'create a sandbox', body, irisSandboxWithToken, createMs, options))
  }

  async fork(id: string, name: string | undefined, options: CallOptions): Promise<Made> {
    const body = { sandbox_id: id, ...(name === undefined ? {} : { name }) }
    return made(await this.#call('ForkSandbox', 'fork the sandbox', body, irisSandboxWithToken, saveMs, options))
  }

  async get(id: string, options: CallOptions): Promise<SandboxRecord> {
    const body = { sandbox_id: id }
    return (await this.#call('GetSandbox', 'look up the sandbox', body, one, shortMs, options, true)).sandbox
  }

  async list(options: CallOptions): Promise<readonly SandboxRecord[]> {
    return (await this.#call('ListSandboxes', 'list the sandboxes', {}, many, shortMs, options, true)).sandboxes
  }

  async suspend(id: string, options: CallOptions): Promise<SandboxRecord> {
    const body = { sandbox_id: id }
    return (await this.#call('SuspendSandbox', 'suspend the sandbox', body, one, saveMs, options, true)).sandbox
  }

  async resume(id: string, options: CallOptions): Promise<Made> {
    const body = { sandbox_id: id }
    return made(
      await this.#call('ResumeSandbox', 'resume the sandbox', body, irisSandboxWithToken, saveMs, options, true),
    )
  }

  async delete(id: string, options: CallOptions): Promise<void> {
    const body = { sandbox_id: id }
    await this.#call('DeleteSandbox', 'delete the sandbox', body, z.object({}), shortMs, options, true)
  }

  async issueToken(id: string, options: CallOptions): Promise<IrisToken> {
    const body = { sandbox_id: id }
    return tokenOf(await this.#call('IssueDataPlaneToken', 'get a token', body, irisToken, shortMs, options, true))
  }

  async #call<Schema extends z.ZodType>(
    method: string,
    doing: string,
    json: object,
    schema: Schema,
    limitMs: number,
    { signal }: CallOptions,
    repeatable = false,
  ): Promise<z.output<Schema>> {
    const path = `/iris.public.v1.SandboxService/${method}`
    const call = { method: 'POST', path, doing, limitMs, json, signal, repeatable } as const
    return checked(await this.send(call, this.baseUrl, this.#apiKey), doing, schema)
  }
}

function made(answer: z.output<typeof irisSandboxWithToken>): Made {
  return { record: answer.sandbox, token: tokenOf(answer) }
}

function tokenOf(answer: z.output<typeof irisToken>): IrisToken {
  return { text: answer.data_plane_token, endsAt: answer.data_plane_token_expires_at_unix * 1000 }
}
