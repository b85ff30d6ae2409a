import fc from 'fast-check'
import { expect, test } from 'vitest'
import { plain } from '../../testing/vectors.ts'
import { decode } from './decode.ts'
import { type Frame, frameType } from './frame.ts'
import { maxMessage } from './limits.ts'
import { giveBack, Outbox } from './outbox.ts'

function takeAll(outbox: Outbox): Uint8Array[] {
  const messages: Uint8Array[] = []
  for (let message = outbox.take(); message; message = outbox.take()) messages.push(message)
  return messages
}

const anyFrame: fc.Arbitrary<Frame> = fc
  .record({
    stream: fc.integer({ min: 1, max: 9 }),
    length: fc.oneof(fc.nat(30), fc.nat(5000), fc.constant(65_536)),
    fill: fc.nat(255),
  })
  .map(({ stream, length, fill }) => ({ type: frameType.open, stream, payload: new Uint8Array(length).fill(fill) }))

test('frames come out as they went in, in messages of whole frames up to 1 MiB', () => {
  const steps = fc.array(fc.oneof({ weight: 9, arbitrary: anyFrame }, { weight: 1, arbitrary: fc.constant('take') }), {
    maxLength: 60,
    size: 'max',
  })
  fc.assert(
    fc.property(steps, (list) => {
      const outbox = new Outbox()
      const messages: Uint8Array[] = []
      for (const step of list)
        if (typeof step === 'string') messages.push(...takeAll(outbox))
        else outbox.frame(step.type, step.stream, step.payload)
      messages.push(...takeAll(outbox))
      expect(outbox.length).toBe(0)
      for (const message of messages) expect(message.length).toBeLessThanOrEqual(maxMessage)
      const frames = list.filter((step) => typeof step !== 'string')
      expect(plain(messages.flatMap((message) => decode(message)))).toEqual(plain(frames))
    }),
    { numRuns: 100 },
  )
})

test('a message is filled up to the last byte, and no further', () => {
  const outbox = new Outbox()
  const head = new Uint8Array(65_528)
  for (let count = 0; count < 16; count++) outbox.frame(frameType.open, 1, head)
  outbox.frame(frameType.end, 1, new Uint8Array(0))
  expect(outbox.length).toBe(maxMessage + 8)
  expect(takeAll(outbox).map((message) => message.length)).toEqual([maxMessage, 8])
})

test('what was expected is written without moving', () => {
  const outbox = new Outbox()
  outbox.frame(frameType.end, 1, new Uint8Array(0))
  outbox.expect(300_000)
  for (let count = 0; count < 4; count++) outbox.frame(frameType.open, 1, new Uint8Array(65_536))
  const [message] = takeAll(outbox)
  expect(message?.length).toBe(8 + 4 * 65_544)
  expect(message?.buffer.byteLength).toBeLessThanOrEqual(8 + 300_000)
})

test('small messages share a block and never overlap', () => {
  const outbox = new Outbox()
  const messages = Array.from({ length: 100 }, (_, index) => {
    outbox.frame(frameType.open, index + 1, new Uint8Array(10).fill(index))
    return outbox.take() as Uint8Array
  })
  expect(new Set(messages.map((message) => message.buffer)).size).toBe(1)
  expect(messages.map((message) => decode(message)[0]?.stream)).toEqual(messages.map((_, index) => index + 1))
})

test('what a carrier holds is not written to until it is given back, in any order', () => {
  const steps = fc.array(fc.oneof(anyFrame, fc.constant('take' as const), fc.nat(5)), { maxLength: 80, size: 'max' })
  fc.assert(
    fc.property(steps, (list) => {
      const outbox = new Outbox()
      const held: { message: Uint8Array; copy: Uint8Array }[] = []
      for (const step of list) {
        if (step === 'take') held.push(...takeAll(outbox).map((message) => ({ message, copy: message.slice() })))
        else if (typeof step === 'number') {
          for (const { message } of held.splice(step % Math.max(1, held.length), 1)) giveBack(message)
        } else outbox.frame(step.type, step.stream, step.payload)
        for (const { message, copy } of held) expect(Buffer.compare(message, copy)).toBe(0)
      }
      for (const { message } of held) giveBack(message)
    }),
    { numRuns: 60 },
  )
})

test('a large block is used again once all of it is given back', () => {
  const outbox = new Outbox()
  const large = () => {
    for (let count = 0; count < 3; count++) outbox.frame(frameType.open, 1, new Uint8Array(65_000))
    return outbox.take() as Uint8Array
  }
  const first = large()
  const second = large()
  expect(second.buffer).not.toBe(first.buffer)
  giveBack(first)
  const third = large()
  expect(third.buffer).toBe(first.buffer)
})
