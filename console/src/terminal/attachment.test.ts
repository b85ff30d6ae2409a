import type { ConsoleEvent } from '@portico/shared/api'
import { expect, test } from 'vitest'
import { Attachment, type Phase, type Socket } from './attachment.ts'

class FakeSocket implements Socket {
  binaryType: BinaryType = 'blob'
  readyState = 1
  onclose: WebSocket['onclose'] = null
  onmessage: WebSocket['onmessage'] = null
  readonly sent: unknown[] = []
  readonly from: number | undefined

  constructor(from: number | undefined) {
    this.from = from
  }

  send(data: unknown): void {
    this.sent.push(typeof data === 'string' ? JSON.parse(data) : data)
  }

  close(): void {
    this.readyState = 3
  }

  cut(): void {
    this.readyState = 3
    this.onclose?.call(this as unknown as WebSocket, {} as CloseEvent)
  }

  says(event: ConsoleEvent): void {
    this.#deliver(JSON.stringify(event))
  }

  prints(text: string): void {
    this.#deliver(new TextEncoder().encode(text).buffer)
  }

  #deliver(data: unknown): void {
    this.onmessage?.call(this as unknown as WebSocket, { data } as MessageEvent)
  }
}

function viewer() {
  const sockets: FakeSocket[] = []
  const events: ConsoleEvent[] = []
  const phases: Phase[] = []
  const waiting: { run: () => void; ms: number }[] = []
  const unshown: (() => void)[] = []
  let screen = ''
  const attachment = new Attachment({
    open: (from) => {
      const socket = new FakeSocket(from)
      sockets.push(socket)
      return socket
    },
    onBytes: (bytes, shown) => {
      screen += new TextDecoder().decode(bytes)
      unshown.push(shown)
    },
    onEvent: (event) => events.push(event),
    onPhase: (phase) => phases.push(phase),
    later: (run, ms) => {
      const entry = { run, ms }
      waiting.push(entry)
      return () => waiting.splice(waiting.indexOf(entry), 1)
    },
  })
  const socket = () => sockets.at(-1) as FakeSocket
  const again = () => waiting.shift()?.run()
  const joined = (offset: number) =>
    socket().says({ type: 'joined', console: 'con1', access: 'write', cols: 80, rows: 24, offset })
  return { attachment, sockets, socket, events, phases, waiting, again, joined, unshown, screen: () => screen }
}

test('a cut viewer comes back from the byte where it stood and shows nothing twice', () => {
  const { socket, joined, again, screen } = viewer()
  joined(100)
  socket().prints('hello ')
  socket().says({ type: 'live' })
  socket().prints('wor')
  socket().cut()
  again()
  expect(socket().from).toBe(109)
  joined(109)
  socket().prints('ld')
  expect(screen()).toBe('hello world')
})

test('a console that sends more than was asked for is not shown twice', () => {
  const { socket, joined, again, screen } = viewer()
  joined(0)
  socket().prints('abc')
  socket().cut()
  again()
  joined(1)
  socket().prints('b')
  socket().prints('cd')
  expect(screen()).toBe('abcd')
})

test('what is gone for good is told, and counts', () => {
  const { socket, joined, again, events } = viewer()
  joined(0)
  socket().prints('abc')
  socket().says({ type: 'gap', bytes: 7 })
  socket().prints('d')
  socket().cut()
  again()
  expect(socket().from).toBe(11)
  joined(20)
  expect(events.filter((event) => event.type === 'gap')).toEqual([
    { type: 'gap', bytes: 7 },
    { type: 'gap', bytes: 9 },
  ])
})

test('bytes are acknowledged once they are shown, since joining', () => {
  const { socket, joined, again, unshown } = viewer()
  joined(500)
  socket().prints('abc')
  socket().prints('de')
  expect(socket().sent).toEqual([])
  unshown.shift()?.()
  expect(socket().sent).toEqual([])
  unshown.shift()?.()
  expect(socket().sent).toEqual([{ type: 'ack', bytes: 5 }])
  socket().cut()
  again()
  joined(505)
  socket().prints('f')
  unshown.shift()?.()
  expect(socket().sent).toEqual([{ type: 'ack', bytes: 1 }])
})

test('what was shown late is not acknowledged to the next connection', () => {
  const { socket, joined, again, unshown } = viewer()
  joined(0)
  socket().prints('abc')
  socket().cut()
  again()
  joined(3)
  unshown.shift()?.()
  expect(socket().sent).toEqual([])
})

test('attempts come later and later, until one is live', () => {
  const { socket, joined, waiting, again } = viewer()
  const delays: number[] = []
  for (let n = 0; n < 8; n++) {
    socket().cut()
    delays.push(waiting[0]?.ms ?? 0)
    again()
  }
  expect(delays[0]).toBeLessThan(400)
  expect(delays[7]).toBeGreaterThanOrEqual(7500)
  expect(Math.max(...delays)).toBeLessThanOrEqual(12_500)
  joined(0)
  socket().says({ type: 'live' })
  socket().cut()
  expect(waiting[0]?.ms).toBeLessThan(400)
})

test('keystrokes go out while attached, in pieces, and are refused otherwise', () => {
  const { attachment, socket, joined } = viewer()
  expect(attachment.type(new Uint8Array([1]))).toBe(false)
  joined(0)
  expect(attachment.type(new Uint8Array(100_000))).toBe(true)
  expect(socket().sent.map((piece) => (piece as Uint8Array).length)).toEqual([65_536, 34_464])
  socket().cut()
  expect(attachment.type(new Uint8Array([1]))).toBe(false)
})

test.each<ConsoleEvent>([
  { type: 'exit', exit_code: 0 },
  { type: 'error', code: 'sandbox_not_found', error: 'cannot find it' },
])('after $type nothing is tried again', (event) => {
  const { socket, joined, sockets, waiting, phases } = viewer()
  joined(0)
  socket().says(event)
  socket().cut()
  expect(phases.at(-1)).toBe('over')
  expect([sockets.length, waiting.length]).toEqual([1, 0])
})

test('closing while it waits ends the waiting', () => {
  const { attachment, socket, waiting } = viewer()
  socket().cut()
  attachment.close()
  expect(waiting).toEqual([])
  expect(attachment.phase).toBe('over')
})

test('frames that are not understood are passed over', () => {
  const { socket, joined, screen } = viewer()
  joined(0)
  socket().onmessage?.call({} as WebSocket, { data: 'no json' } as MessageEvent)
  socket().prints('x')
  expect(screen()).toBe('x')
})
