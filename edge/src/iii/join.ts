/** How the Worker hands a worker's socket to its account's object: who it is, in one header. The key itself does not go along. */

import type { Caller } from '../ports.ts'

/** Who is at the other end of a socket. Kept with it, so an object that was evicted still knows. */
export interface WorkerNote {
  readonly worker: string
  readonly caller: Caller
  /** Account and serial of the key that it came in with: whether that still counts is asked again. */
  readonly key: string
}

export type Join = Omit<WorkerNote, 'worker'>

const header = 'x-portico-iii'
const url = 'http://iii/worker'

/** The name of the object of an account's workers in a region. */
export function objectName({ account, region }: Caller): string {
  return `${account} ${region}`
}

export function workerRequest(join: Join): Request {
  return new Request(url, { headers: { upgrade: 'websocket', [header]: JSON.stringify(join) } })
}

/** Undefined if the request is not a worker's. */
export function readWorker(request: Request): Join | undefined {
  return request.url === url ? (JSON.parse(request.headers.get(header) ?? '') as Join) : undefined
}
