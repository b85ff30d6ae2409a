/**
 * WebSocket messages on a tunnel stream, both directions, behind an answer with status 101: kind u8, length u32 (big-endian), payload. Pings and pongs are
 * answered on each WebSocket by itself and do not cross. After `close` a side sends no more; END without one is a connection that broke (1006).
 */

import { AppError } from '../errors.ts'

/** Of one message. */
export const maxPortMessage = 32 * 1024 * 1024

export type PortMessage =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'binary'; readonly bytes: Uint8Array }
  | { readonly kind: 'close'; readonly code: number; readonly reason: string }

const kinds = { text: 0, binary: 1, close: 2 } as const
const headLength = 5
const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** One message as bytes. A close without a code is 1005. */
export function encodePortMessage(message: PortMessage): Uint8Array {
  const payload = payloadOf(message)
  const bytes = new Uint8Array(headLength + payload.length)
  bytes[0] = kinds[message.kind]
  new DataView(bytes.buffer).setUint32(1, payload.length)
  bytes.set(payload, headLength)
  return bytes
}

/** What stands before a payload that is at hand as bytes, so that it need not be copied; a text's is UTF-8. */
export function portMessageHead(kind: PortMessage['kind'], length: number): Uint8Array {
  const head = new Uint8Array(headLength)
  head[0] = kinds[kind]
  new DataView(head.buffer).setUint32(1, length)
  return head
}

function payloadOf(message: PortMessage): Uint8Array {
  switch (message.kind) {
    case 'text':
      return encoder.encode(message.text)
    case 'binary':
      return message.bytes
    case 'close': {
      const reason = encoder.encode(message.reason)
      const payload = new Uint8Array(2 + reason.length)
      new DataView(payload.buffer).setUint16(0, message.code)
      payload.set(reason, 2)
      return payload
    }
  }
}

/** Puts messages together from pieces of any size. */
export class PortMessageDecoder {
  #pieces: Uint8Array[] = []
  #length = 0

  /** The messages that are complete with these bytes. Throws `protocol_error` for what is none. */
  push(bytes: Uint8Array): PortMessage[] {
    this.#pieces.push(bytes)
    this.#length += bytes.length
    const messages: PortMessage[] = []
    for (let next = this.#next(); next; next = this.#next()) messages.push(next)
    return messages
  }

  #next(): PortMessage | undefined {
    if (this.#length < headLength) return undefined
    const head = this.#peek(headLength)
    const length = new DataView(head.buffer, head.byteOffset).getUint32(1)
    if (length > maxPortMessage) throw fault(`it has ${length} bytes, over ${maxPortMessage}`)
    if (this.#length < headLength + length) return undefined
    return messageOf(head[0] as number, this.#peek(headLength + length, true).subarray(headLength))
  }

  /** The first bytes as one piece; `take` removes them. */
  #peek(length: number, take = false): Uint8Array {
    const first = this.#pieces[0] as Uint8Array
    if (first.length < length) {
      const whole = new Uint8Array(length)
      let at = 0
      let count = 0
      for (const piece of this.#pieces) {
        const part = piece.subarray(0, length - at)
        whole.set(part, at)
        at += part.length
        count++
        if (at < length) continue
        const rest = piece.subarray(part.length)
        this.#pieces.splice(0, count, whole, ...(rest.length > 0 ? [rest] : []))
        break
      }
    }
    const all = this.#pieces[0] as Uint8Array
    if (take) {
      this.#length -= length
      if (all.length === length) this.#pieces.shift()
      else this.#pieces[0] = all.subarray(length)
    }
    return all.subarray(0, length)
  }
}

function messageOf(kind: number, payload: Uint8Array): PortMessage {
  switch (kind) {
    case kinds.text:
      return { kind: 'text', text: textOf(payload) }
    case kinds.binary:
      return { kind: 'binary', bytes: payload }
    case kinds.close: {
      if (payload.length < 2) throw fault('a close has no code')
      const code = new DataView(payload.buffer, payload.byteOffset).getUint16(0)
      return { kind: 'close', code, reason: textOf(payload.subarray(2)) }
    }
    default:
      throw fault(`its kind is ${kind}`)
  }
}

function textOf(payload: Uint8Array): string {
  try {
    return decoder.decode(payload)
  } catch (cause) {
    throw new AppError('protocol_error', "cannot read the peer's message: its text is not UTF-8", { cause })
  }
}

function fault(why: string): AppError {
  return new AppError('protocol_error', `cannot read the peer's message: ${why}`)
}
