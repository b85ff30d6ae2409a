/** What happens to an image until it is ready or has failed, from the first event on. A connection that breaks is made again; nothing is told twice. */

import { imageEvent } from '@portico/shared/api'
import { makeError, type PorticoError } from './errors.ts'
import { reported } from './failures.ts'
import { type ImageEvent, imageEventOf } from './image-records.ts'
import { followIdleMs, shortMs, silenceSec } from './limits.ts'
import { Reattachment } from './reattachment.ts'
import { type ServerEvent, serverEvents } from './server-events.ts'
import type { Transport } from './transport.ts'

const doing = 'follow the image'

/** @internal Ends after `ready` or `failed`. */
export async function* imageEvents(
  transport: Transport,
  path: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<ImageEvent, void> {
  const attached = new Reattachment(transport.clock, silenceSec)
  let last = 0
  for (;;) {
    try {
      const call = { method: 'GET', path: `${path}/events`, doing, limitMs: shortMs, signal } as const
      const headers = last === 0 ? {} : { 'last-event-id': String(last) }
      const body = await transport.stream({ ...call, accept: 'text/event-stream', idleMs: followIdleMs, headers })
      for await (const told of serverEvents(body.pipeThrough(noticed(() => attached.heard())))) {
        const number = Number(told.id)
        // One that was told before the connection broke.
        if (number > 0 && number <= last) continue
        const event = checked(told)
        if (event === undefined) continue
        yield event
        if (event.type === 'ready' || event.type === 'failed') return
        last = number > 0 ? number : last
      }
      await attached.again(cut(), signal)
    } catch (error) {
      await attached.again(error, signal)
    }
  }
}

/** Tells of every piece that comes, comments among them: they say that the other side is there. */
function noticed(notice: () => void): TransformStream<Uint8Array, Uint8Array> {
  return new TransformStream({
    transform(piece, controller) {
      notice()
      controller.enqueue(piece)
    },
  })
}

/** Undefined for what a newer platform tells beside. */
function checked({ name, data }: ServerEvent): ImageEvent | undefined {
  let value: unknown
  try {
    value = JSON.parse(data)
  } catch {
    throw nonsense()
  }
  const told = imageEvent.safeParse(value)
  if (told.success) return imageEventOf(told.data)
  const { code, error, event = name } = (value ?? {}) as Readonly<Record<string, unknown>>
  if (event === 'error' && typeof code === 'string') throw reported(code, String(error))
  if (['progress', 'output', 'ready', 'failed'].includes(String(event))) throw nonsense()
  return undefined
}

function cut(): PorticoError {
  return makeError({ code: 'unreachable', message: `cannot ${doing}: it broke off`, status: 0, retryable: true })
}

function nonsense(): PorticoError {
  const message = `cannot ${doing}: an event is not one of Portico's`
  return makeError({ code: 'protocol_error', message, status: 0, retryable: false })
}
