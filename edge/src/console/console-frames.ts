/** The frames of `…/consoles/{console}/attach`: `consoleEvent` and `consoleInput` of the API as text, the terminal's bytes as binary. */

import { type ConsoleEvent, consoleInput } from '@portico/shared/api'
import { type Adapter, type Frame, type Notice, parseText } from './frames.ts'

const event = (said: ConsoleEvent): Frame[] => [JSON.stringify(said)]

export const consoleFrames: Adapter = {
  joined: ({ id, access, cols, rows, offset }) => event({ type: 'joined', console: id, access, cols, rows, offset }),
  live: () => event({ type: 'live' }),
  gap: (bytes) => event({ type: 'gap', bytes }),
  chunk: (rest, { kind, bytes }) => ({ frames: kind === 'mark' ? [] : [bytes], rest }),
  notice,
  read(message) {
    if (typeof message !== 'string') return { kind: 'data', bytes: new Uint8Array(message) }
    const parsed = consoleInput.safeParse(parseText(message))
    if (!parsed.success) return undefined
    const { data } = parsed
    return data.type === 'ack' ? { kind: 'ack', bytes: data.bytes } : { kind: 'size', cols: data.cols, rows: data.rows }
  },
}

function notice(told: Notice): Frame[] {
  switch (told.kind) {
    case 'size':
      return event({ type: 'size', cols: told.cols, rows: told.rows })
    case 'viewers':
      return event({ type: 'viewers', count: told.count })
    case 'link':
      return event({ type: 'link', state: told.state, ...(told.reason === undefined ? {} : { reason: told.reason }) })
    case 'exit': {
      const { exit_code, signal } = told.ending
      return event({ type: 'exit', exit_code, ...(signal === undefined ? {} : { signal }) })
    }
    case 'ended':
      return []
    case 'error':
      return event({ type: 'error', code: told.error.code, error: told.error.message })
  }
}
