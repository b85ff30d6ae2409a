/** A request as the wire server sees it. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { AppError } from '@portico/shared/errors'
import type { z } from 'zod'

/** A request as it arrived. */
export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
  /** Resolves when the caller has gone before it was answered. */
  readonly abandoned: Promise<void>
}

/** Reads a request to its end. */
export async function read(request: IncomingMessage, response: ServerResponse): Promise<SeenRequest> {
  const url = new URL(request.url ?? '/', 'http://wire')
  const abandoned = new Promise<void>((resolve) =>
    response.once('close', () => {
      if (!response.writableFinished) resolve()
    }),
  )
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const { method = 'GET', headers } = request
  return { method, path: url.pathname, query: url.searchParams, headers, body: Buffer.concat(chunks), abandoned }
}

/** Whether a request is one of a route, such as `POST /v1/runs`; a `*` stands for anything. */
export function matches(route: string, seen: SeenRequest): boolean {
  const [method, path = ''] = route.split(' ')
  if (method !== seen.method) return false
  const [begin = '', end] = path.split('*')
  return end === undefined ? seen.path === path : seen.path.startsWith(begin) && seen.path.endsWith(end)
}

/** The body of a request, as its schema reads it. */
export function parse<Schema extends z.ZodType>(schema: Schema, seen: SeenRequest): z.output<Schema> {
  const checked = schema.safeParse(JSON.parse(seen.body.toString()))
  if (checked.success) return checked.data
  const issue = checked.error.issues[0]
  throw new AppError('invalid_request', `cannot use ${issue?.path.join('.')}: ${issue?.message}`)
}
