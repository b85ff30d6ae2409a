/** How an image's object hands a pull to a runner's object over `fetch`: the call in a header, the progress as the answer's body. */

import { guestHeaders } from '../guest/wire.ts'

export interface PullCall {
  readonly reference: string
  /** Asks the registry what the tag is now. */
  readonly refresh: boolean
}

const pullUrl = 'http://runner/image-pull'
const pullHeader = 'x-portico-pull'

/** What `fetch` takes for a pull. A reference that is no ASCII is none. */
export function pullRequest(call: PullCall, signal: AbortSignal): [url: string, init: RequestInit] {
  const told = JSON.stringify({ ...call, reference: encodeURIComponent(call.reference) })
  return [pullUrl, { method: 'POST', headers: { [pullHeader]: told }, signal }]
}

/** Whether a request to a runner's object is a pull. */
export function isPull(request: Request): boolean {
  return request.url === pullUrl
}

export function readPull(request: Request): PullCall {
  const { reference, refresh } = JSON.parse(request.headers.get(pullHeader) ?? '') as PullCall
  return { reference: decodeURIComponent(reference), refresh }
}

/** The answer whose body is the runner's progress. */
export function pullAnswer(progress: ReadableStream): Response {
  return new Response(progress, { headers: guestHeaders({ 'content-type': 'application/x-ndjson' }) })
}
