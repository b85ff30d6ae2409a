/** How the Worker asks an image's object for its events over `fetch`. */

import { guestHeaders } from '../guest/wire.ts'
import type { Caller } from '../ports.ts'

interface EventsCall extends Caller {
  /** The last event that the caller has heard of; 0 is none. */
  readonly after: number
}

const header = 'x-portico-events'

export function eventsRequest(call: EventsCall, signal: AbortSignal): [url: string, init: RequestInit] {
  return ['http://image/events', { headers: { [header]: JSON.stringify(call) }, signal }]
}

export function readEventsRequest(request: Request): EventsCall {
  return JSON.parse(request.headers.get(header) ?? '') as EventsCall
}

export function eventsAnswer(events: ReadableStream): Response {
  return new Response(events, { headers: guestHeaders({ 'content-type': 'text/event-stream' }) })
}
