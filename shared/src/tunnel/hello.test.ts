import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { vectors } from '../../testing/vectors.ts'
import { AppError, errorCodes } from '../errors.ts'
import { encodeError, encodeHello, parseError, parseHello, versionError } from './hello.ts'
import { maxError, maxWindow, minWindow } from './limits.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

describe('hello', () => {
  for (const { name, text, ok } of vectors.hellos)
    test(`${name} is ${ok ? 'taken' : 'refused'}`, () => {
      if (ok) expect(parseHello(bytes(text)).window).toBeGreaterThanOrEqual(minWindow)
      else expect(() => parseHello(bytes(text))).toThrow(AppError)
    })

  test('comes back as it was sent, without fields that nobody knows', () => {
    const hello = { generation: 1, role: 'edge', window: 65_536 } as const
    expect(parseHello(encodeHello(hello))).toEqual(hello)
    expect(parseHello(bytes(JSON.stringify({ ...hello, more: 1 })))).toEqual(hello)
  })

  test('this side cannot say a window that the peer would refuse', () => {
    expect(() => encodeHello({ generation: 1, role: 'edge', window: maxWindow + 1 })).toThrow('window')
    expect(() => encodeHello({ generation: 1, role: 'edge', window: minWindow - 1 })).toThrow('window')
  })

  test('a generation that this side has given up is told apart', () => {
    expect(versionError({ generation: 0, role: 'runner', window: minWindow })?.code).toBe('version_unsupported')
    expect(versionError({ generation: 1, role: 'runner', window: minWindow })).toBeUndefined()
    expect(versionError({ generation: 99, role: 'runner', window: minWindow })).toBeUndefined()
  })

  test('bytes that are no UTF-8 are refused', () => {
    expect(() => parseHello(Uint8Array.of(0x7b, 0xff, 0x7d))).toThrow('not JSON')
  })
})

describe('errors on the wire', () => {
  for (const vector of vectors.wireErrors)
    test(vector.name, () => {
      if (vector.error) expect(() => parseError(bytes(vector.text), 'a reset')).toThrow('cannot read a reset')
      else expect(parseError(bytes(vector.text), 'a reset')).toEqual({ code: vector.code, message: vector.message })
    })

  test('every code of the table survives', () => {
    for (const code of errorCodes)
      expect(parseError(encodeError({ code, message: 'cannot: m' }), 'x')).toEqual({ code, message: 'cannot: m' })
  })

  test('a message of any length and any characters fits a frame and stays readable', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 3000 }), (message) => {
        const payload = encodeError({ code: 'internal', message })
        expect(payload.length).toBeLessThanOrEqual(maxError)
        expect(parseError(payload, 'x').code).toBe('internal')
      }),
    )
  })
})
