/** One way to the fixed server: where a client has to ask. Whoever opened it disposes of it. */

import { request } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type { Target } from '../front-door/load.ts'

export interface Way extends AsyncDisposable {
  readonly name: string
  /** For what is answered at once. */
  readonly target: Target
  /** Path of the 100 MB at the same address. */
  readonly download: string
  /** The processes on the way, by the name that a note gives them. */
  readonly processes: Readonly<Record<string, number>>
  readonly note?: string
}

/** Path of the 100 MB at the fixed server. */
export const download = '/100MB'
const readyLimitMs = 15_000

/** Where the fixed server, or what leads to it, is asked. */
export function targetOf(port: number, host?: string): Target {
  return { url: `http://127.0.0.1:${port}`, paths: ['/'], ...(host === undefined ? {} : { host }) }
}

/** A port that nobody listens on right now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Resolves once something listens there. */
export async function listens(port: number): Promise<void> {
  await until(`nothing listens on port ${port}`, () => {
    const socket = connect(port, '127.0.0.1')
    return new Promise((resolve) => {
      socket.once('error', () => resolve(false))
      socket.once('connect', () => {
        socket.destroy()
        resolve(true)
      })
    })
  })
}

/** Resolves once the fixed server answers at the end of the way. */
export async function answers(target: Target): Promise<void> {
  await until(`no answer at ${target.host ?? target.url}`, () => asked(target))
}

function asked({ url, host }: Target): Promise<boolean> {
  return new Promise((resolve) => {
    const asking = request(url, { agent: false, timeout: 2000, headers: host === undefined ? {} : { host } })
    asking.once('timeout', () => asking.destroy())
    asking.once('error', () => resolve(false))
    asking.once('response', (response) => {
      response.resume()
      response.once('close', () => resolve(response.statusCode === 200))
    })
    asking.end()
  })
}

async function until(failure: string, check: () => Promise<boolean>): Promise<void> {
  const limit = AbortSignal.timeout(readyLimitMs)
  while (!(await check())) {
    if (limit.aborted) throw new Error(`cannot measure: ${failure}`)
    await wait(50)
  }
}
