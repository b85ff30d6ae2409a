/** Calls to a sandbox's guest, each of which counts as activity until it is over. */

import type { Duplex } from 'node:stream'
import type { GuestRequest, GuestResponse } from '../guest/http.ts'
import type { GuestLink } from '../guest/link.ts'
import type { Borrowed, PortPool } from '../port/pool.ts'
import { thenRun } from './then-run.ts'

/** The way to a guest, and what ends the activity that using it began. */
export interface Use {
  readonly link: GuestLink
  readonly endActivity: () => void
}

export interface BorrowOptions {
  readonly signal: AbortSignal
  /** Not one that has carried a request before. */
  readonly fresh: boolean
}

/** Until its answer was read. */
export async function request({ link, endActivity }: Use, asked: GuestRequest): Promise<GuestResponse> {
  const end = () => {
    asked.signal.removeEventListener('abort', end)
    endActivity()
  }
  asked.signal.addEventListener('abort', end)
  try {
    const response = await link.request(asked)
    return { ...response, body: thenRun(response.body, end) }
  } catch (error) {
    end()
    throw error
  }
}

/** Until it is closed. */
export async function connect({ link, endActivity }: Use, port: number, signal: AbortSignal): Promise<Duplex> {
  try {
    return (await link.connect(port, signal)).once('close', endActivity)
  } catch (error) {
    endActivity()
    throw error
  }
}

/** Until it is given back or closed. */
export async function borrow(
  { link, endActivity }: Use,
  ports: PortPool,
  port: number,
  { signal, fresh }: BorrowOptions,
): Promise<Borrowed> {
  return await ports.borrow(port, fresh, { connect: () => link.connect(port, signal), onOver: endActivity })
}
