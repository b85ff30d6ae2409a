/** The start of a session on a link to an agent: reads and answers until both sides have said HELLO, and hands the link over paused. */

import type { Duplex } from 'node:stream'
import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import {
  encode,
  encodeHello,
  flushBytes,
  frameType,
  type Hello,
  helloLimitMs,
  pingLength,
  preambleWaitMs,
} from '@portico/shared/tunnel'
import { Greeting } from './greeting.ts'

export interface Opening {
  /** Whether the agent may stand in a former session: then a flush ends that, after `preambleWaitMs` without a preamble, or at once. */
  readonly again: boolean | 'now'
  readonly signal: AbortSignal
  readonly clock: Clock
  /** Our HELLO to that of the agent. Called again if the agent begins anew; the last one counts. */
  readonly answer: (hello: Hello) => Hello
}

export interface Opened {
  readonly hello: Hello
  /** What has come after the start. */
  readonly rest: Uint8Array
}

/** Does not close the link when it fails. */
export function open(link: Duplex, { again, signal, clock, answer }: Opening): Promise<Opened> {
  return new Promise((resolve, reject) => {
    let hello: Hello | undefined
    let cancel: () => void = () => undefined
    const greeting = new Greeting(({ nonce, hello: theirs }) => {
      cancel()
      cancel = clock.after(helloLimitMs, () => settle(() => reject(lost(`it did not begin within ${helloLimitMs} ms`))))
      hello = theirs
      const ours = { type: frameType.hello, stream: 0, payload: encodeHello(answer(theirs)) }
      link.write(Buffer.concat([nonce, greeting.sure ? encode(ours, ping) : encode(ours)]))
    })
    const settle = (act: () => void) => {
      cancel()
      link.off('data', onData)
      link.off('close', onClose)
      signal.removeEventListener('abort', onAbort)
      act()
    }
    const onData = (bytes: Uint8Array) => {
      try {
        const rest = greeting.push(bytes)
        if (!rest || !hello) return
        link.pause()
        const opened = { hello, rest }
        settle(() => resolve(opened))
      } catch (error) {
        settle(() => reject(error))
      }
    }
    const onClose = () => settle(() => reject(lost('its port closed')))
    const onAbort = () => settle(() => reject(signal.reason))
    link.on('error', () => undefined)
    if (signal.aborted) return onAbort()
    const flush = () => {
      greeting.flushed()
      link.write(flushBytes())
    }
    if (again === 'now') flush()
    if (again === true) cancel = clock.after(preambleWaitMs, flush)
    link.on('data', onData)
    link.once('close', onClose)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/** Its answer shows that the agent has seen the start; a session ignores a PONG that it did not ask for. */
const ping = { type: frameType.ping, stream: 0, payload: new Uint8Array(pingLength) }

export function lost(why: string): AppError {
  return new AppError('guest_disconnected', `cannot reach the sandbox's agent: ${why}`)
}
