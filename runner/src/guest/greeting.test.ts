import { encode, encodeHello, frameType, preamble } from '@portico/shared/tunnel'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type Greeted, Greeting } from './greeting.ts'

const hello = { generation: 1, role: 'agent', window: 65_536 } as const
const helloFrame = encode({ type: frameType.hello, stream: 0, payload: encodeHello(hello) })
const start = (nonce: Uint8Array) => Buffer.concat([preamble(nonce), helloFrame])
const nonceOf = (fill: number) => new Uint8Array(8).fill(fill)
const pong = Buffer.from(encode({ type: frameType.pong, stream: 0, payload: new Uint8Array(8) }))

/** Feeds pieces; tells which preambles were answered and what was left over. */
function run(sure: boolean, bytes: Uint8Array, size: number): { answered: number[]; rest: Buffer | undefined } {
  const answered: number[] = []
  const greeting = new Greeting(({ nonce }: Greeted) => answered.push(nonce[0] as number))
  if (sure) greeting.flushed()
  for (let at = 0; at < bytes.length; at += size) {
    const rest = greeting.push(bytes.subarray(at, at + size))
    if (rest) return { answered, rest: Buffer.concat([rest, bytes.subarray(at + size)]) }
  }
  return { answered, rest: undefined }
}

it('answers the hello and hands over what follows', () => {
  for (const size of [1, 7, 1000])
    expect(run(true, Buffer.concat([start(nonceOf(1)), pong]), size)).toEqual({ answered: [1], rest: pong })
})

it('is over with the hello where nothing can come in between', () => {
  expect(run(false, start(nonceOf(1)), 1000)).toEqual({ answered: [1], rest: Buffer.alloc(0) })
})

it('is not over before the agent has shown that it saw the answer', () => {
  expect(run(true, start(nonceOf(1)), 1000)).toEqual({ answered: [1], rest: undefined })
})

it('answers again where the agent begins anew, and the last answer counts', () => {
  const fills = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 7 })
  const noise = fc.uint8Array({ maxLength: 300 })
  fc.assert(
    fc.property(fills, noise, fc.integer({ min: 1, max: 200 }), (all, before, size) => {
      const bytes = Buffer.concat([before, ...all.map((fill) => start(nonceOf(fill))), pong])
      const { answered, rest } = run(true, bytes, size)
      expect(answered.at(-1)).toBe(all.at(-1))
      expect(rest).toEqual(pong)
    }),
  )
})

it('gives up on an agent that begins again and again', () => {
  const bytes = Buffer.concat(Array.from({ length: 20 }, () => start(nonceOf(1))))
  expect(() => run(true, bytes, 10)).toThrow('again and again')
})

it.each([
  ['another frame', pong],
  ['a hello that is too long', Buffer.from('0010010000000000', 'hex')],
  ['a hello that is none', encode({ type: frameType.hello, stream: 0, payload: Buffer.from('{}') })],
])('refuses %s in place of the hello', (_what, bytes) => {
  expect(() => run(true, Buffer.concat([preamble(nonceOf(1)), bytes]), 1000)).toThrow('cannot')
})
