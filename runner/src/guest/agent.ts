/** What the runner itself asks of an agent. Every answer passes its schema before anything of it is used. */

import { createHash, randomBytes } from 'node:crypto'
import type { Clock } from '@portico/shared/clock'
import { abortable } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { guestError, type Health, health, type IdentityRequest, identityConfirmed } from '@portico/shared/guest'
import type { z } from 'zod'
import type { GuestRequest, GuestResponse } from './http.ts'
import { maxClockDriftMs, maxOwnBody } from './limits.ts'

/** Whatever carries requests: a channel or a link. */
export interface Agent {
  request(asked: GuestRequest): Promise<GuestResponse>
  /** From now on every request carries this token. */
  authorize(token: string): void
}

export interface Identity {
  readonly sandbox: string
  readonly env: Readonly<Record<string, string>>
  /** What its image has for programs whose callers say nothing. */
  readonly program?: Pick<IdentityRequest, 'workdir' | 'user' | 'entrypoint' | 'cmd'>
}

const entropyBytes = 64
const tokenBytes = 32

/** A part of the id, as the whole of it is a credential that programs in the guest should not find by chance. */
export function hostnameOf(sandbox: string): string {
  return sandbox.slice(0, 11)
}

export async function askHealth(agent: Agent, signal: AbortSignal): Promise<Health> {
  return await ask(agent, { method: 'GET', path: '/health', signal }, health)
}

/** Makes the VM this sandbox and no other; resolves only when the guest has confirmed it. What the agent is asked from then on carries a token that it alone knows. */
export async function giveIdentity(agent: Agent, identity: Identity, clock: Clock, signal: AbortSignal): Promise<void> {
  const asked: IdentityRequest = {
    sandbox_id: identity.sandbox,
    hostname: hostnameOf(identity.sandbox),
    clock_unix_ms: clock.now(),
    entropy: randomBytes(entropyBytes).toString('base64'),
    token: randomBytes(tokenBytes).toString('base64'),
    env: identity.env,
    ...identity.program,
  }
  const sentAt = clock.now()
  const confirmed = await ask(agent, { method: 'POST', path: '/identity', ...json(asked), signal }, identityConfirmed)
  const drift = Math.max(sentAt - confirmed.clock_unix_ms, confirmed.clock_unix_ms - clock.now(), 0)
  if (confirmed.hostname !== asked.hostname) throw unconfirmed('it has another host name')
  if (confirmed.entropy_bytes < entropyBytes) throw unconfirmed('it did not take the fresh randomness')
  if (drift > maxClockDriftMs) throw unconfirmed(`its clock is ${drift} ms off`)
  if (confirmed.token_sha256 !== createHash('sha256').update(asked.token).digest('hex'))
    throw unconfirmed('it did not take the token')
  agent.authorize(asked.token)
}

/** One request whose answer passes `schema`; undefined if the agent has no such route. */
export async function askIfKnown<Schema extends z.ZodType>(
  agent: Agent,
  asked: GuestRequest,
  schema: Schema,
  maxBytes = maxOwnBody,
): Promise<z.infer<Schema> | undefined> {
  const response = await agent.request(asked)
  const value = parse(await readAll(response.body, asked.signal, maxBytes))
  if (response.status !== 200) {
    const { data } = guestError.safeParse(value)
    if (response.status === 404 && data?.error.code === 'not_found') return undefined
    throw new AppError(
      'guest_error',
      `cannot use the sandbox: its agent says: ${data?.error.message ?? response.status}`,
    )
  }
  const result = schema.safeParse(value)
  if (!result.success)
    throw new AppError('guest_error', "cannot use the sandbox: its agent's answer is malformed", {
      cause: result.error,
    })
  return result.data
}

export async function ask<Schema extends z.ZodType>(
  agent: Agent,
  asked: GuestRequest,
  schema: Schema,
): Promise<z.infer<Schema>> {
  const answer = await askIfKnown(agent, asked, schema)
  if (answer === undefined)
    throw new AppError('guest_error', 'cannot use the sandbox: its agent does not know what it is asked')
  return answer
}

export function json(value: unknown): Pick<GuestRequest, 'headers' | 'body'> {
  return { headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(value)) }
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

async function readAll(body: AsyncIterable<Uint8Array>, signal: AbortSignal, maxBytes: number): Promise<Buffer> {
  const read = async () => {
    const parts: Uint8Array[] = []
    let size = 0
    for await (const bytes of body) {
      size += bytes.length
      if (size > maxBytes) throw new AppError('guest_error', "cannot use the sandbox: its agent's answer is too long")
      parts.push(bytes)
    }
    return Buffer.concat(parts)
  }
  return await abortable(read(), signal)
}

function unconfirmed(why: string): AppError {
  return new AppError('guest_error', `cannot use the sandbox: its guest did not confirm its identity: ${why}`)
}
