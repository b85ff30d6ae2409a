/** Questions about processes, files or services to the agent of their sandbox. What it answers is believed once it has the right shape. */

import { type ProcessRecord, processRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { z } from 'zod'
import type { KeyCall } from '../call.ts'
import { callGuest, type GuestRequest } from '../guest/call-guest.ts'

/** How long the agent may take for what it does at once; a sandbox that has to wake up takes part of it. */
export const waitMs = 60_000
/** An answer is held whole, up to this size: 1,024 processes with long command lines. */
const maxAnswer = 16_777_216
const encoder = new TextEncoder()

export interface Question {
  readonly method: GuestRequest['method']
  readonly path: string
  readonly json?: object
  readonly waitMs?: number
  /** The `traceparent` of what it starts. */
  readonly trace?: string | undefined
}

/** A process as its agent tells it after the call. */
export async function askProcess(call: KeyCall, sandbox: string, question: Question): Promise<ProcessRecord> {
  return await askGuest(call, sandbox, question, processRecord)
}

/** A process as it stands in an answer. */
export function readProcess(answer: Response): Promise<ProcessRecord> {
  return readAnswer(answer, processRecord)
}

/** Any answer of the agent's that is JSON. */
export async function askGuest<Schema extends z.ZodType>(
  call: KeyCall,
  sandbox: string,
  question: Question,
  schema: Schema,
): Promise<z.output<Schema>> {
  const { method, path, json, trace } = question
  const content = json === undefined ? {} : jsonContent(json)
  const asked = { method, path, waitMs: question.waitMs ?? waitMs, trace, ...content }
  return await readAnswer(await callGuest(call, sandbox, asked), schema)
}

/** A JSON body with its headers. */
export function jsonContent(json: object): { headers: Record<string, string>; body: string } {
  const body = JSON.stringify(json)
  const length = String(encoder.encode(body).byteLength)
  return { headers: { 'content-type': 'application/json', 'content-length': length }, body }
}

/** JSON of an agent, if it has the right shape. */
export async function readAnswer<Schema extends z.ZodType>(
  answer: Response,
  schema: Schema,
): Promise<z.output<Schema>> {
  const parsed = schema.safeParse(parse(await readText(answer)))
  if (parsed.success) return parsed.data
  throw new AppError('guest_error', 'cannot finish the call: the sandbox answered nonsense')
}

/** The text of an agent's answer, if it is not too long to be held. */
export async function readText(answer: Response): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  try {
    for await (const bytes of answer.body ?? []) {
      text += decoder.decode(bytes, { stream: true })
      if (text.length > maxAnswer) throw new AppError('guest_error', 'cannot finish the call: the answer is too long')
    }
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError('guest_disconnected', 'cannot finish the call: the answer broke off', { cause })
  }
  return text + decoder.decode()
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
