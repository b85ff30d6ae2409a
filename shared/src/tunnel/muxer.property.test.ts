/**
 * Two multiplexers against a model: random calls on both sides, random chunking of the carrier, random waits of the carrier. At any time what a
 * reader got is a beginning of what was written, and no side holds more than its window; at the end everything that was not reset has arrived.
 */

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Link, link, turn, type Wire } from '../../testing/link.ts'
import { Decoder } from './decode.ts'
import { frameType } from './frame.ts'
import type { TunnelStream } from './types.ts'

const window = 16_384
type Side = 'edge' | 'runner'

/** One end of a stream, and what the model knows of it. */
class End {
  readonly stream: TunnelStream
  accepted: boolean
  ended = false
  wasReset = false
  written = 0
  reading = false
  readBytes = 0
  sawEnd = false
  readonly failures: string[] = []

  constructor(stream: TunnelStream, isOpener: boolean) {
    this.stream = stream
    this.accepted = isOpener
  }

  /** Bytes are numbered, so that a reader knows what must come next. */
  write(length: number): void {
    const start = this.written
    this.written += length
    this.stream
      .write(Uint8Array.from({ length }, (_, index) => (start + index) % 251))
      .catch((why) => this.failures.push(why.code))
  }

  read(): void {
    if (this.reading || this.sawEnd) return
    this.reading = true
    this.stream.read().then(
      (bytes) => {
        this.reading = false
        if (!bytes) this.sawEnd = true
        for (const byte of bytes ?? []) if (byte !== this.readBytes++ % 251) this.failures.push('wrong byte')
      },
      (why) => {
        this.reading = false
        this.sawEnd = true
        this.failures.push(why.code)
      },
    )
  }
}

class World {
  readonly link: Link
  readonly ends: Record<Side, Map<number, End>> = { edge: new Map(), runner: new Map() }
  /** DATA bytes that were delivered to a side, by stream. */
  readonly delivered: Record<Side, Map<number, number>> = { edge: new Map(), runner: new Map() }
  readonly releases: (() => void)[] = []

  constructor() {
    const accept = (side: Side) => ({
      window,
      onStream: (stream: TunnelStream) => void this.ends[side].set(stream.id, new End(stream, false)),
    })
    this.link = link(accept('edge'), accept('runner'))
    for (const side of ['edge', 'runner'] as const) {
      const wire = this.wireTo(side)
      const counter = new Decoder((type, id, payload) => {
        const counts = this.delivered[side]
        if (type === frameType.data) counts.set(id, (counts.get(id) ?? 0) + payload.length)
      })
      wire.auto = false
      const muxer = this.link[side]
      wire.connect((bytes) => {
        counter.push(bytes)
        muxer.receive(bytes)
      })
    }
  }

  wireTo(side: Side): Wire {
    return side === 'edge' ? this.link.toEdge : this.link.toRunner
  }

  pick(side: Side, index: number): End | undefined {
    const list = [...this.ends[side].values()]
    return list[index % Math.max(1, list.length)]
  }

  run({ kind, side, index, amount }: Command): void {
    const end = this.pick(side, index)
    switch (kind) {
      case 'open': {
        const stream = this.link[side].open()
        this.ends[side].set(stream.id, new End(stream, true))
        return
      }
      case 'accept':
        if (end && !end.accepted) end.stream.accept()
        if (end) end.accepted = true
        return
      case 'write':
        if (end?.accepted && !end.ended && !end.wasReset) end.write(amount)
        return
      case 'end':
        if (end?.accepted) end.stream.end()
        if (end?.accepted) end.ended = true
        return
      case 'reset':
        end?.stream.reset({ code: 'cancelled', message: 'cannot: reset' })
        if (end) end.wasReset = true
        return
      case 'read':
        end?.read()
        return
      case 'deliver':
        this.wireTo(side).deliver(1 + amount)
        return
      case 'fill':
        this.releases.push(this.wireTo(side).fill())
        return
      case 'release':
        this.releases.pop()?.()
        return
    }
  }

  /** What must hold at any time. */
  check(): void {
    for (const side of ['edge', 'runner'] as const) {
      expect(this.wireTo(side).closes).toEqual([])
      for (const [id, end] of this.ends[side]) {
        const held = (this.delivered[side].get(id) ?? 0) - end.readBytes
        if (!end.wasReset) expect(held).toBeLessThanOrEqual(window)
        expect(end.failures.filter((why) => why !== 'cancelled')).toEqual([])
        const other = this.ends[side === 'edge' ? 'runner' : 'edge'].get(id)
        expect(end.readBytes).toBeLessThanOrEqual(other?.written ?? 0)
      }
    }
  }

  /** Lets everything finish: accepts, ends and reads all, and delivers until nothing moves. */
  async finish(): Promise<void> {
    for (const release of this.releases.splice(0)) release()
    for (let quiet = 0; quiet < 3; ) {
      const before = this.progress()
      for (const side of ['edge', 'runner'] as const) {
        for (const end of this.ends[side].values()) {
          if (!end.accepted) end.stream.accept()
          end.accepted = true
          end.stream.end()
          end.read()
        }
        while (this.wireTo(side).messages.length > 0) this.wireTo(side).deliver()
      }
      await turn()
      quiet = this.progress() === before ? quiet + 1 : 0
    }
  }

  progress(): string {
    const counts = [...this.ends.edge.values(), ...this.ends.runner.values()].map((end) => end.readBytes)
    const { edge, runner, toEdge, toRunner } = this.link
    return [edge.openStreams, runner.openStreams, toEdge.length, toRunner.length, ...counts].join()
  }
}

interface Command {
  readonly kind: 'open' | 'accept' | 'write' | 'end' | 'reset' | 'read' | 'deliver' | 'fill' | 'release'
  readonly side: Side
  readonly index: number
  readonly amount: number
}

const kinds: fc.Arbitrary<Command['kind']> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('open' as const, 'accept' as const) },
  { weight: 5, arbitrary: fc.constantFrom('write' as const, 'read' as const) },
  { weight: 6, arbitrary: fc.constant('deliver' as const) },
  { weight: 1, arbitrary: fc.constantFrom('end' as const, 'reset' as const, 'fill' as const, 'release' as const) },
)
const amounts = fc.oneof(fc.nat(20), fc.nat(5000), fc.nat(70_000))
const command: fc.Arbitrary<Command> = fc.record({
  kind: kinds,
  side: fc.constantFrom('edge' as const, 'runner' as const),
  index: fc.nat(1000),
  amount: amounts,
})

/** How a stream ended at one end. A reset that crosses the last END on the way leaves one end with an error and the other without. */
async function checkOutcome(end: End, other: End | undefined): Promise<void> {
  const code = (await end.stream.done)?.code
  if (!end.wasReset && !other?.wasReset) expect(code).toBeUndefined()
  if (code !== undefined) {
    expect(code).toBe('cancelled')
    return
  }
  expect(end.readBytes).toBe(other?.written ?? 0)
  expect(end.failures).toEqual([])
}

test('two sides agree with the model under any sequence of calls and any chunking', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 150, size: 'max' }), async (commands) => {
      const world = new World()
      for (const [index, one] of commands.entries()) {
        world.run(one)
        // A turn of the event loop now and then: sometimes calls pile up in one turn, sometimes each has its own.
        if (one.amount % 3 === 0 || index % 10 === 0) await turn()
        world.check()
      }
      await world.finish()
      world.check()
      expect([world.link.edge.openStreams, world.link.runner.openStreams]).toEqual([0, 0])
      for (const [id, near] of world.ends.edge) {
        const far = world.ends.runner.get(id)
        await checkOutcome(near, far)
        if (far) await checkOutcome(far, near)
      }
    }),
    { numRuns: 150 },
  )
})
