/**
 * The frames of `…/terminal`: the terminal's bytes are binary both ways, the rest is JSON text.
 *
 *   up     {"type":"resize","cols","rows"}   {"type":"ack","bytes"}
 *   down   {"type":"session","id","offset"} first   {"type":"gap","bytes"}   {"type":"error","code","error"}   {"type":"exit","exit_code","signal"?} last
 *
 * `offset` is that of the first byte that follows, for `from=` after a cut. `ack` is not needed: it counts the bytes shown since joining, and who sends
 * it is sent at most 1 MiB ahead.
 */

import { consoleInput } from '@portico/shared/api'
import { type Adapter, type Frame, type Notice, parseText } from './frames.ts'

const said = (frame: object): Frame[] => [JSON.stringify(frame)]

export const terminalFrames: Adapter = {
  joined: ({ id, offset }) => said({ type: 'session', id, offset }),
  live: () => [],
  gap: (bytes) => said({ type: 'gap', bytes }),
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
    case 'exit': {
      const { exit_code, signal } = told.ending
      return said({ type: 'exit', exit_code, ...(signal === undefined ? {} : { signal }) })
    }
    case 'error':
      return said({ type: 'error', code: told.error.code, error: told.error.message })
    default:
      return []
  }
}
