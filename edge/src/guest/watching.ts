/**
 * What an agent tells of changes to files, line by line, on its way to one caller as server-sent events or on a WebSocket. A line counts for nothing until it
 * has the right shape.
 *
 *   watching ──the agent ends it──▶ over
 *       ├── broken off, nonsense ──▶ failed: the caller is told why
 *       └── caller gone ──▶ gone: the agent's answer is cancelled
 *
 * A stream goes at the pace of its reader, and the agent bounds what waits meanwhile. The platform tells nothing of what waits in a socket (it has no
 * `bufferedAmount`), so what a caller does not read of one waits in the platform's memory, until he does or goes.
 */

import { type WatchEvent, watchEvent } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { closeFrame } from '@portico/shared/tunnel'
import type { SandboxCall } from '../call.ts'
import { inBackground } from '../durable/background.ts'
import { errorBodyOf } from '../middleware/answer.ts'
import { encodeEvent } from '../process/as-events.ts'
import { outputHeaders } from '../process/follow.ts'
import { whyBroken } from './why-broken.ts'

export const eventsType = 'text/event-stream'
/** Two paths of 4 KiB, each as text and in base64, in the longest spelling that JSON has. */
const longestLine = 131_072
const action = 'watch the files'

/** Where the events go. */
interface Sink {
  tell(event: WatchEvent): Promise<void> | void
  end(error?: AppError): Promise<void> | void
  /** Calls back once when nobody is there any more. */
  onGone(gone: () => void): void
}

/** The agent's answer as server-sent events. */
export function watchedAsEvents(call: SandboxCall, sandbox: string, answer: Response): Response {
  const { readable, writable } = new IdentityTransformStream()
  inBackground(action, pass(call, sandbox, answer, eventSink(call, writable.getWriter())))
  return new Response(readable, { headers: outputHeaders(eventsType) })
}

/** The agent's answer as text messages; what comes the other way is not read. */
export function watchedOnSocket(call: SandboxCall, sandbox: string, answer: Response): Response {
  const { 0: client, 1: server } = new WebSocketPair()
  server.accept()
  inBackground(action, pass(call, sandbox, answer, socketSink(server)))
  return new Response(null, { status: 101, webSocket: client })
}

async function pass(call: SandboxCall, sandbox: string, answer: Response, sink: Sink): Promise<void> {
  const reader = (answer.body ?? new Blob([]).stream()).getReader()
  let isGone = false
  sink.onGone(() => {
    isGone = true
    void reader.cancel().catch(() => undefined)
  })
  try {
    const lines = new Lines()
    for (;;) {
      const { done, value } = await readPiece(reader, call, sandbox)
      if (done) break
      for (const line of lines.push(value)) await sink.tell(readEvent(line))
    }
    if (!isGone) await sink.end()
  } catch (thrown) {
    // Whoever has gone needs no reason.
    if (!isGone) await Promise.resolve(sink.end(AppError.from(thrown))).catch(() => undefined)
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}

async function readPiece(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  call: SandboxCall,
  sandbox: string,
): Promise<ReadableStreamReadResult<Uint8Array>> {
  try {
    return await reader.read()
  } catch (cause) {
    throw await whyBroken(call, sandbox, action, cause)
  }
}

function eventSink(call: SandboxCall, writer: WritableStreamDefaultWriter<Uint8Array>): Sink {
  return {
    tell: (event) => writer.write(encodeEvent(event.type, event)),
    async end(error) {
      if (error !== undefined) await writer.write(encodeEvent('error', errorBodyOf(error, call.requestId)))
      await writer.close()
    },
    onGone(gone) {
      writer.closed.catch(gone)
      call.request.signal.addEventListener('abort', () => {
        gone()
        void writer.abort().catch(() => undefined)
      })
    },
  }
}

function socketSink(socket: WebSocket): Sink {
  return {
    tell: (event) => socket.send(JSON.stringify(event)),
    end(error) {
      const { code, reason } = closeFrame(error)
      socket.close(code, reason)
    },
    onGone(gone) {
      socket.addEventListener('error', gone)
      socket.addEventListener('close', () => {
        gone()
        try {
          socket.close(1000, '')
        } catch {
          // It is closed.
        }
      })
    },
  }
}

/** Lines out of bytes in any pieces. */
class Lines {
  readonly #decoder = new TextDecoder()
  #rest = ''

  push(bytes: Uint8Array): string[] {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split('\n')
    this.#rest = lines.pop() ?? ''
    if (this.#rest.length > longestLine) throw nonsense()
    return lines
  }
}

function readEvent(line: string): WatchEvent {
  try {
    return watchEvent.parse(JSON.parse(line))
  } catch {
    throw nonsense()
  }
}

function nonsense(): AppError {
  return new AppError('guest_error', `cannot ${action}: the sandbox answered nonsense`)
}
