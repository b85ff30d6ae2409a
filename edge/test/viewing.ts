/** A viewer of a console, terminal or shell in tests: a socket through the front door's own entry, and what came down it. */

import { expect } from 'vitest'
import { ask } from './client.ts'

export interface Event {
  readonly type: string
  readonly [field: string]: unknown
}

export class View {
  readonly socket: WebSocket
  /** Text frames, and what the binary frames add up to. */
  readonly events: Event[] = []
  /** Everything in order: a type, or `= bytes`. */
  readonly order: string[] = []
  text = ''
  closed: { code: number; reason: string } | undefined

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.binaryType = 'arraybuffer'
    socket.addEventListener('message', ({ data }) => {
      if (typeof data === 'string') {
        const event = JSON.parse(data) as Event
        this.events.push(event)
        this.order.push(event.type)
      } else {
        const printed = new TextDecoder().decode(data as ArrayBuffer)
        this.text += printed
        this.order.push(`= ${printed}`)
      }
    })
    socket.addEventListener('close', ({ code, reason }) => {
      this.closed = { code, reason }
    })
    socket.accept()
  }

  static async open(path: string, key?: string): Promise<View> {
    const response = await ask(path, { ...(key === undefined ? {} : { key }), headers: { upgrade: 'websocket' } })
    expect(response.status, response.status === 101 ? '' : await response.text()).toBe(101)
    return new View(response.webSocket as WebSocket)
  }

  /** The first event of a kind, once there is one. */
  async event(type: string): Promise<Event> {
    await expect.poll(() => this.of(type).length, { message: `a frame of type ${type}` }).toBeGreaterThan(0)
    return this.of(type)[0] as Event
  }

  of(type: string): Event[] {
    return this.events.filter((event) => event.type === type)
  }

  async shows(text: string): Promise<void> {
    await expect.poll(() => this.text).toBe(text)
  }

  type(text: string): void {
    this.socket.send(new TextEncoder().encode(text))
  }

  say(frame: object): void {
    this.socket.send(JSON.stringify(frame))
  }

  leave(): void {
    this.socket.close(1000, 'done')
  }
}
