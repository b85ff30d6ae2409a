/** What happens to files, as it happens. A connection that breaks is made again; what was missed meanwhile is told as an overflow. */

import { type WatchEvent, watchEvent } from '@portico/shared/api'
import { makeError, type PorticoError } from './errors.ts'
import { reported } from './failures.ts'
import { bytesOf } from './file-path.ts'
import { pathBytes } from './file-records.ts'
import { followIdleMs, silenceSec, treeMs } from './limits.ts'
import { Reattachment } from './reattachment.ts'
import { type ServerEvent, serverEvents } from './server-events.ts'
import type { Transport } from './transport.ts'

/** Something that happened to a file. */
export type FileChange =
  /** Comes first, once: what happens from now on is told. */
  | { readonly type: 'ready' }
  /** Events were lost: look again. */
  | { readonly type: 'overflow' }
  | {
      readonly type: 'create' | 'modify' | 'attributes' | 'delete'
      readonly path: string
      /** Where the path is not UTF-8. */
      readonly pathBytes?: Uint8Array
      readonly isDirectory: boolean
    }
  /** Inside of what is watched; a move out is a `delete`, one in a `create`. */
  | {
      readonly type: 'move'
      readonly path: string
      readonly pathBytes?: Uint8Array
      readonly to: string
      readonly toBytes?: Uint8Array
      readonly isDirectory: boolean
    }

/** @internal The changes that a route tells, until the signal ends it. */
export async function* fileChanges(
  transport: Transport,
  path: string,
  doing: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<FileChange, void> {
  const attached = new Reattachment(transport.clock, silenceSec)
  let isReady = false
  try {
    for (;;) {
      try {
        for await (const event of attach(transport, path, doing, signal)) {
          attached.heard()
          const change = changeOf(event, isReady)
          isReady ||= event.type === 'ready'
          if (change !== undefined) yield change
        }
        await attached.again(cut(doing), signal)
      } catch (error) {
        await attached.again(error, signal)
      }
    }
  } catch (error) {
    // It has no other end.
    if (!signal?.aborted) throw error
  }
}

async function* attach(
  transport: Transport,
  path: string,
  doing: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<WatchEvent, void> {
  const call = { method: 'GET', path, doing, limitMs: treeMs, accept: 'text/event-stream' } as const
  const body = await transport.stream({ ...call, idleMs: followIdleMs, signal })
  for await (const event of serverEvents(body)) yield checked(event, doing)
}

function checked({ name, data }: ServerEvent, doing: string): WatchEvent {
  let value: unknown
  try {
    value = JSON.parse(data)
  } catch {
    throw nonsense(doing)
  }
  const told = watchEvent.safeParse(value)
  if (told.success) return told.data
  const { code, error } = (value ?? {}) as { readonly code?: unknown; readonly error?: unknown }
  if (name === 'error' && typeof code === 'string') throw reported(code, String(error))
  throw nonsense(doing)
}

/** What an event is to the caller. The `ready` of a connection that was made again says that something was missed. */
function changeOf(event: WatchEvent, isReady: boolean): FileChange | undefined {
  const { type, path = '', path_base64, is_dir = false, to = '', to_base64 } = event
  switch (type) {
    case 'ready':
      return { type: isReady ? 'overflow' : 'ready' }
    case 'overflow':
      return { type }
    case 'heartbeat':
      return undefined
    case 'move': {
      const toBytes = bytesOf(to_base64)
      const target = toBytes === undefined ? { to } : { to, toBytes }
      return { type, path, ...pathBytes(path_base64), ...target, isDirectory: is_dir }
    }
    case 'create':
    case 'modify':
    case 'attributes':
    case 'delete':
      return { type, path, ...pathBytes(path_base64), isDirectory: is_dir }
  }
}

function cut(doing: string): PorticoError {
  return makeError({ code: 'unreachable', message: `cannot ${doing}: it broke off`, status: 0, retryable: true })
}

function nonsense(doing: string): PorticoError {
  const message = `cannot ${doing}: an event is not one of Portico's`
  return makeError({ code: 'protocol_error', message, status: 0, retryable: false })
}
