/**
 * An image's events on their way to one caller, as server-sent events: from the first, or from behind the one that he heard last, until the
 * image is ready or failed. Events are read from where they are kept at the pace of their reader, so nothing gathers for one who is slow.
 */

import type { Clock } from '@portico/shared/clock'
import type { Numbered } from './events.ts'

export interface Followed {
  readonly clock: Clock
  /** The next events behind this number. */
  readonly after: (seq: number) => readonly Numbered[]
  /** Resolves when there may be more. */
  readonly changed: () => Promise<void>
  /** Whether there will never be more. */
  readonly isOver: () => boolean
}

/** So often something is said, so that a connection on which nothing happens is known to be there. */
const quietMs = 10_000
const encoder = new TextEncoder()

/** The stream for one caller; `seq` is the last that he has heard of. */
export function followed(image: Followed, seq: number, signal: AbortSignal): ReadableStream {
  const { readable, writable } = new IdentityTransformStream()
  const writer = writable.getWriter()
  let isGone = false
  const gone = () => {
    isGone = true
    void writer.abort().catch(() => undefined)
  }
  writer.closed.catch(gone)
  signal.addEventListener('abort', gone)
  const pass = async () => {
    let at = seq
    while (!isGone) {
      // Asked before the events are read, so that none comes between unnoticed.
      const [changed, isOver] = [image.changed(), image.isOver()]
      const events = image.after(at)
      for (const { seq: number, event } of events) {
        await writer.write(encoder.encode(`id: ${number}\nevent: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`))
        at = number
        if (event.event === 'ready' || event.event === 'failed') return await writer.close()
      }
      if (events.length > 0) continue
      if (isOver) return await writer.close()
      if (!(await within(image.clock, quietMs, changed))) await writer.write(encoder.encode(': quiet\n\n'))
    }
  }
  void pass()
    .catch(gone)
    .finally(() => signal.removeEventListener('abort', gone))
  return readable
}

/** Whether it came in time. */
function within(clock: Clock, ms: number, change: Promise<void>): Promise<boolean> {
  return new Promise((resolve) => {
    const stop = clock.after(ms, () => resolve(false))
    void change.then(() => {
      stop()
      resolve(true)
    })
  })
}
