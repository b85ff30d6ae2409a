/** How others talk to a channel's object over `fetch`: a socket joins an end, or a function takes what the writer sends as the body of an answer. What has to be known stands in one header. */

import { AppError } from '@portico/shared/errors'
import type { Env } from '../../env.ts'
import { errorAnswer } from '../../guest/wire.ts'
import type { Outcome } from '../../outcome.ts'
import type { Caller } from '../../ports.ts'

export type End = 'read' | 'write'

/** A file of a sandbox that a channel's reader gets. */
export interface FileSource {
  /** Run id. */
  readonly sandbox: string
  readonly path: string
}

export type ChannelVisit =
  | { readonly kind: 'join'; readonly end: End }
  | { readonly kind: 'take'; readonly caller: Caller }

/** One channel, as its makers see it. */
export interface ChannelPort {
  /** Makes it. With a source its writer's end is taken, and what is in the file goes to whoever reads. */
  open(owner: Caller, source: FileSource | null): Promise<Outcome<void>>
  /** A function that read it has failed. Answers why, unless the channel itself broke before; null where that is not known. */
  gaveUp(): Promise<string | null>
}

const url = 'http://channel/'
const header = 'x-portico-channel'
const taken = 'x-portico-taken'

export function channelPort(env: Env, id: string): ChannelPort {
  return stub(env, id) as unknown as ChannelPort
}

/** A socket for the caller, or an answer of `refused`. */
export function joinChannel(env: Env, id: string, end: End): Promise<Response> {
  const visit: ChannelVisit = { kind: 'join', end }
  return stub(env, id).fetch(url, { headers: { upgrade: 'websocket', [header]: JSON.stringify(visit) } })
}

/** All that the writer sends, as soon as the first of it is there. */
export async function takeChannel(env: Env, id: string, caller: Caller, signal: AbortSignal): Promise<ReadableStream> {
  const visit: ChannelVisit = { kind: 'take', caller }
  const answer = await stub(env, id).fetch(url, { headers: { [header]: JSON.stringify(visit) }, signal })
  if (answer.headers.has(taken) && answer.body !== null) return answer.body
  throw AppError.fromWire(await answer.json())
}

export function readVisit(request: Request): ChannelVisit {
  return JSON.parse(request.headers.get(header) ?? '') as ChannelVisit
}

export function bodyAnswer(body: ReadableStream): Response {
  return new Response(body, { headers: { [taken]: 'body', 'content-type': 'application/octet-stream' } })
}

export function refused(thrown: unknown): Response {
  return errorAnswer(AppError.from(thrown).toWire())
}

function stub(env: Env, id: string): DurableObjectStub {
  return env.III_CHANNELS.get(env.III_CHANNELS.idFromName(id))
}
