import { duplexPair } from 'node:stream'
import { FakeClock } from '@portico/shared/clock'
import type { SandboxEventMessage } from '@portico/shared/control'
import { sandboxEvent } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { answer, defaultWindow, generation, Muxer, parseHead, refuse, type TunnelStream } from '@portico/shared/tunnel'
import { expect, it } from 'vitest'
import { silentLog } from '../log.ts'
import { EventOutbox } from './outbox.ts'
import { counter } from './sequence.ts'
import type { Lines } from './tunnel.ts'

type OnEvent = (event: SandboxEventMessage, stream: TunnelStream) => void

/** A connection to an edge that does what the test says. */
function connection(onEvent: OnEvent) {
  const [ours, theirs] = duplexPair()
  const side = (
    link: typeof ours,
    opens: 'odd' | 'even',
    onStream?: (stream: TunnelStream, head: Uint8Array) => void,
  ) => {
    const muxer = new Muxer({
      carrier: { send: (bytes) => void link.write(bytes), close: () => void link.destroy() },
      opens,
      hello: { generation, role: opens === 'odd' ? 'edge' : 'runner', window: defaultWindow },
      disconnected: 'edge_disconnected',
      ...(onStream ? { onStream } : {}),
    })
    link.on('data', (bytes: Buffer) => muxer.receive(bytes))
    return muxer
  }
  side(theirs, 'odd', (stream, head) => onEvent(parseHead(head, sandboxEvent), stream))
  const over = new AbortController()
  return { muxer: side(ours, 'even'), over }
}

/** A tunnel of this one socket. */
const on = (muxer: Muxer): Lines => ({
  line: async (signal) => {
    signal.throwIfAborted()
    return { muxer, generation, over: signal }
  },
})

const ok = (stream: TunnelStream) => {
  answer(stream)
  stream.end()
}

const event = (sandbox: string, state: 'destroyed' | 'error' = 'destroyed'): SandboxEventMessage => ({
  op: 'sandbox.event',
  sandbox,
  generation: 1,
  state,
})

it('delivers each event once it is acknowledged, in order', async () => {
  const seen: string[] = []
  const { muxer, over } = connection(({ sandbox }, stream) => {
    seen.push(sandbox)
    ok(stream)
  })
  const outbox = new EventOutbox(new FakeClock(), silentLog(), counter())
  outbox.add(event('a'))
  outbox.add(event('b'))
  const delivering = outbox.deliver(on(muxer), over.signal)
  await outbox.emptied()
  outbox.add(event('c'))
  await outbox.emptied()
  expect(seen).toEqual(['a', 'b', 'c'])
  over.abort()
  await delivering
})

it('keeps an event that was not acknowledged for the next connection', async () => {
  const outbox = new EventOutbox(new FakeClock(), silentLog(), counter())
  outbox.add(event('a'))
  const first = connection((_event, stream) => {
    void stream
    first.over.abort(new AppError('edge_disconnected', 'gone'))
  })
  await outbox.deliver(on(first.muxer), first.over.signal)
  expect(outbox.size).toBe(1)
  const second = connection((_event, stream) => ok(stream))
  void outbox.deliver(on(second.muxer), second.over.signal)
  await outbox.emptied()
  second.over.abort()
})

it('repeats an event that the edge could not take', async () => {
  const clock = new FakeClock()
  let tries = 0
  const { muxer, over } = connection((_event, stream) => {
    if (++tries < 3) refuse(stream, new AppError('internal', 'cannot store it'))
    else ok(stream)
  })
  const outbox = new EventOutbox(clock, silentLog(), counter())
  outbox.add(event('a'))
  void outbox.deliver(on(muxer), over.signal)
  while (outbox.size > 0) {
    await new Promise((turn) => setImmediate(turn))
    await clock.advance(100)
  }
  expect(tries).toBe(3)
  over.abort()
})

it.each(['sandbox_not_found', 'moved'] as const)('drops an event to which the edge answers %s', async (code) => {
  const { muxer, over } = connection((_event, stream) => refuse(stream, { code, message: 'cannot take it' }))
  const outbox = new EventOutbox(new FakeClock(), silentLog(), counter())
  outbox.add(event('a'))
  void outbox.deliver(on(muxer), over.signal)
  await outbox.emptied()
  over.abort()
})

it('numbers events as they happen, and says the same number when it repeats one', async () => {
  const clock = new FakeClock()
  const seen: string[] = []
  const { muxer, over } = connection(({ sandbox, sequence }, stream) => {
    seen.push(`${sandbox} ${sequence}`)
    if (seen.length === 1) refuse(stream, new AppError('internal', 'cannot store it'))
    else ok(stream)
  })
  const sequence = counter()
  const outbox = new EventOutbox(clock, silentLog(), sequence)
  outbox.add(event('a'))
  sequence()
  outbox.add(event('b'))
  void outbox.deliver(on(muxer), over.signal)
  while (outbox.size > 0) {
    await new Promise((turn) => setImmediate(turn))
    await clock.advance(100)
  }
  expect(seen).toEqual(['a 1', 'a 1', 'b 3'])
  over.abort()
})

it('tells only the latest of a sandbox, also if it changes while the edge is told', async () => {
  const seen: string[] = []
  const outbox = new EventOutbox(new FakeClock(), silentLog(), counter())
  const { muxer, over } = connection(({ state }, stream) => {
    seen.push(state)
    if (seen.length === 1) outbox.add(event('a', 'destroyed'))
    ok(stream)
  })
  outbox.add(event('a', 'destroyed'))
  outbox.add(event('a', 'error'))
  void outbox.deliver(on(muxer), over.signal)
  await outbox.emptied()
  expect(seen).toEqual(['error', 'destroyed'])
  over.abort()
})
