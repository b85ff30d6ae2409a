/** A session that is paused and goes on over another carrier: no byte is lost, none comes twice, and nothing that the peer does then can hurt. */

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Link, link, pair, readAll, turn, Wire } from '../../testing/link.ts'
import { creditFrame, frame, greeted } from '../../testing/scripted-peer.ts'
import { FakeClock } from '../clock.ts'
import { frameType } from './frame.ts'
import { pingIdleMs } from './limits.ts'
import type { TunnelStream } from './types.ts'

const mark = Uint8Array.from({ length: 16 }, (_, index) => index)

/** Both sides go on over new wires. */
function goOn({ edge, runner }: Pick<Link, 'edge' | 'runner'>, auto = true): { toRunner: Wire; toEdge: Wire } {
  const [toRunner, toEdge] = [new Wire(), new Wire()]
  toRunner.auto = auto
  toEdge.auto = auto
  toRunner.connect((bytes) => runner.receive(bytes))
  toEdge.connect((bytes) => edge.receive(bytes))
  runner.resume(toEdge)
  edge.resume(toRunner)
  return { toRunner, toEdge }
}

test('both sides name the same mark, and a stream goes on', async () => {
  const { edge, runner, near, far } = await pair({}, { holds: true })
  void near.write(Buffer.from('before '))
  const name = await edge.pause()
  expect(name).toMatch(/^[0-9a-f]{32}$/)
  expect([edge.paused, runner.paused]).toEqual([name, name])
  void near.write(Buffer.from('between '))
  near.end()
  void far.write(Buffer.from('answer'))
  far.end()
  goOn({ edge, runner })
  expect([edge.paused, runner.paused]).toEqual([undefined, undefined])
  expect(String(await readAll(far))).toBe('before between ')
  expect(String(await readAll(near))).toBe('answer')
})

test('nothing is sent on the carrier after the last frame', async () => {
  const { edge, near, far, toRunner, toEdge } = await pair({}, { holds: true })
  await edge.pause()
  for (const wire of [toRunner, toEdge]) wire.auto = false
  void near.write(Buffer.alloc(100))
  void far.write(Buffer.alloc(100))
  edge.open()
  near.reset({ code: 'cancelled', message: 'cannot: reset' })
  await turn()
  expect([toRunner.length, toEdge.length]).toEqual([0, 0])
})

test('what is reset meanwhile is told when it goes on', async () => {
  const { edge, runner, near, far } = await pair({}, { holds: true })
  await edge.pause()
  near.reset({ code: 'cancelled', message: 'cannot: reset' })
  goOn({ edge, runner })
  expect((await far.done)?.code).toBe('cancelled')
})

test('each pause has a mark of its own', async () => {
  const ends = await pair({}, { holds: true })
  const first = await ends.edge.pause()
  goOn(ends)
  expect(await ends.edge.pause()).not.toBe(first)
})

test('a session that ends instead fails the pause', async () => {
  const { edge, near, toRunner } = await pair({}, { holds: true })
  toRunner.auto = false
  const pausing = edge.pause()
  edge.close()
  await expect(pausing).rejects.toMatchObject({ code: 'runner_disconnected' })
  expect((await near.done)?.code).toBe('runner_disconnected')
  await expect(edge.pause()).rejects.toMatchObject({ code: 'runner_disconnected' })
})

test('a paused session can be closed, which ends its streams', async () => {
  const { edge, near } = await pair({}, { holds: true })
  await edge.pause()
  edge.close()
  expect((await near.done)?.code).toBe('runner_disconnected')
})

test('silence is no fault while it is paused', async () => {
  const clock = new FakeClock()
  const { edge, runner } = await pair(
    { keepalive: { idleMs: pingIdleMs, limitMs: 1000, clock } },
    { holds: true, clock },
  )
  await edge.pause()
  expect(clock.pending).toBe(0)
  goOn({ edge, runner })
  expect(clock.pending).toBe(1)
})

test('a peer that may not pause, or answers unasked, ends the connection', async () => {
  for (const [options, type, payload] of [
    [{}, frameType.pause, mark],
    [{ holds: true }, frameType.paused, ''],
  ] as const) {
    const peer = await greeted(options)
    await peer.send(frame(type, 0, payload))
    expect(peer.closes.map((error) => error?.code)).toEqual(['protocol_error'])
  }
})

test('what a peer sends after its last frame means nothing, whatever it is', async () => {
  const peer = await greeted({ holds: true })
  await peer.send(frame(frameType.pause, 0, mark), frame(frameType.data, 77, 'x'), creditFrame(9, 1))
  await peer.sendBytes(new Uint8Array(70_000).fill(0xff))
  expect(peer.closes).toEqual([])
  expect(peer.frames.map(({ type }) => type)).toEqual([frameType.paused])
})

test('what waits while it is paused is bounded', async () => {
  const peer = await greeted({ holds: true })
  await peer.send(frame(frameType.pause, 0, mark))
  for (let sent = 0; sent < 1200; sent++) peer.muxer.goAway({ code: 'cancelled', message: 'x' })
  for (let id = 0; id < 1100; id++)
    try {
      peer.muxer.open(new Uint8Array(10)).reset({ code: 'cancelled', message: 'y'.repeat(500) })
    } catch {
      // No more streams.
    }
  await turn()
  expect(peer.frames.map(({ type }) => type)).toEqual([frameType.paused])
})

interface Step {
  readonly kind: 'write' | 'read' | 'deliver' | 'pause' | 'fill' | 'release'
  readonly side: 'edge' | 'runner'
  readonly stream: number
  readonly amount: number
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.constantFrom('write', 'write', 'read', 'deliver', 'deliver', 'deliver', 'pause', 'fill', 'release'),
    side: fc.constantFrom('edge', 'runner'),
    stream: fc.nat(3),
    amount: fc.oneof(fc.nat(20), fc.nat(5000), fc.nat(70_000)),
  }),
  { maxLength: 120, size: 'max' },
)

/** Numbered bytes through one direction of a stream. */
class Flow {
  written = 0
  got = 0
  wrong = 0
  reading = false
  readonly from: TunnelStream
  readonly to: TunnelStream

  constructor(from: TunnelStream, to: TunnelStream) {
    this.from = from
    this.to = to
  }

  write(length: number): void {
    const start = this.written
    this.written += length
    void this.from.write(Uint8Array.from({ length }, (_, index) => (start + index) % 251))
  }

  async read(): Promise<void> {
    if (this.reading) return
    this.reading = true
    for (const byte of (await this.to.read()) ?? []) if (byte !== this.got++ % 251) this.wrong++
    this.reading = false
  }
}

test('under random traffic, paused at random moments, all arrives once and in order', {
  timeout: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const accepted: TunnelStream[] = []
      const onStream = (stream: TunnelStream) => {
        stream.accept()
        accepted.push(stream)
      }
      const ends = link({ window: 16_384 }, { window: 16_384, holds: true, onStream })
      const opened = [0, 1, 2, 3].map(() => ends.edge.open())
      await turn()
      const flows = opened.flatMap((near, index) => {
        const far = accepted[index] as TunnelStream
        return [new Flow(near, far), new Flow(far, near)]
      })
      let wires = { toRunner: ends.toRunner, toEdge: ends.toEdge }
      for (const wire of Object.values(wires)) wire.auto = false
      let pauses = 0
      const releases: (() => void)[] = []
      const goOnIfPaused = () => {
        if (ends.edge.paused === undefined) return
        expect(ends.runner.paused).toBe(ends.edge.paused)
        pauses++
        wires = goOn(ends, false)
      }
      const run = async ({ kind, side, stream, amount }: Step) => {
        const flow = flows[2 * stream + (side === 'edge' ? 0 : 1)] as Flow
        const wire = side === 'edge' ? wires.toRunner : wires.toEdge
        if (kind === 'write') flow.write(amount)
        else if (kind === 'read') void flow.read()
        else if (kind === 'deliver') wire.deliver(1 + amount)
        else if (kind === 'pause') void ends.edge.pause().catch(() => undefined)
        else if (kind === 'fill') releases.push(wire.fill())
        else releases.pop()?.()
        if (amount % 3 === 0) await turn()
        goOnIfPaused()
      }
      for (const step of all) await run(step)
      for (const release of releases) release()
      const progress = () => [pauses, wires.toRunner.length, wires.toEdge.length, ...flows.map(({ got }) => got)].join()
      for (let idle = 0; idle < 5; ) {
        const before = progress()
        for (const flow of flows) void flow.read()
        for (const wire of Object.values(wires)) while (wire.messages.length > 0) wire.deliver()
        await turn()
        goOnIfPaused()
        idle = before === progress() ? idle + 1 : 0
      }
      for (const flow of flows) expect([flow.got, flow.wrong]).toEqual([flow.written, 0])
      for (const wire of Object.values(wires)) expect(wire.closes).toEqual([])
    }),
    { numRuns: 200 },
  )
})
