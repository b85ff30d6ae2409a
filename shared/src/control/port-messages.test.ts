import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  encodePortMessage,
  maxPortMessage,
  type PortMessage,
  PortMessageDecoder,
  portMessageHead,
} from './port-messages.ts'

const message: fc.Arbitrary<PortMessage> = fc.oneof(
  fc.record({ kind: fc.constant('text' as const), text: fc.string({ unit: 'grapheme', maxLength: 400 }) }),
  fc.record({ kind: fc.constant('binary' as const), bytes: fc.uint8Array({ maxLength: 4000 }) }),
  fc.record({
    kind: fc.constant('close' as const),
    code: fc.integer({ min: 1000, max: 4999 }),
    reason: fc.string({ maxLength: 60 }),
  }),
)

it('reads messages as they were written, in whatever pieces they arrive', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 3000 })), (messages, cuts) => {
      const wire = Buffer.concat(messages.map(encodePortMessage))
      const decoder = new PortMessageDecoder()
      const read: PortMessage[] = []
      for (let at = 0, turn = 0; at < wire.length; turn++) {
        const length = cuts[turn % Math.max(1, cuts.length)] ?? wire.length
        read.push(...decoder.push(wire.subarray(at, at + length)))
        at += length
      }
      const plain = (one: PortMessage) => (one.kind === 'binary' ? { ...one, bytes: [...one.bytes] } : one)
      expect(read.map(plain)).toEqual(messages.map(plain))
    }),
  )
})

it('writes the head of a payload that is at hand as bytes as it writes whole messages', () => {
  const bytes = Buffer.from('größe')
  const text = Buffer.concat([portMessageHead('text', bytes.length), bytes])
  expect(text).toEqual(Buffer.from(encodePortMessage({ kind: 'text', text: 'größe' })))
  const binary = Buffer.concat([portMessageHead('binary', bytes.length), bytes])
  expect(binary).toEqual(Buffer.from(encodePortMessage({ kind: 'binary', bytes })))
})

it.each([
  ['a kind that is none', [3, 0, 0, 0, 0]],
  ['a close without a code', [2, 0, 0, 0, 1, 0]],
  ['a text that is not UTF-8', [0, 0, 0, 0, 2, 0xc3, 0x28]],
  ['a reason that is not UTF-8', [2, 0, 0, 0, 3, 3, 0xe8, 0xff]],
])('refuses %s', (_name, bytes) => {
  expect(() => new PortMessageDecoder().push(Uint8Array.from(bytes))).toThrow(/cannot read the peer's message/)
})

it('refuses a message over the maximum by its head, and waits for one at it', () => {
  expect(() => new PortMessageDecoder().push(portMessageHead('binary', maxPortMessage + 1))).toThrow(/over/)
  expect(new PortMessageDecoder().push(portMessageHead('binary', maxPortMessage))).toEqual([])
})
