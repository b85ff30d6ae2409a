import { expect, it } from 'vitest'
import { requestHeaders, responseHeaders } from './headers.ts'

it('keeps what belongs to one connection on it, on the way in', () => {
  const headers = {
    Host: 'x',
    Connection: 'keep-alive',
    'Transfer-Encoding': 'chunked',
    Upgrade: 'h2c',
    Range: 'bytes=0-1',
  }
  expect(requestHeaders(headers)).toEqual({ range: 'bytes=0-1' })
})

it.each([
  ['a name with a space', { 'a b': 'x' }],
  ['an empty name', { '': 'x' }],
  ['a value with a line break', { a: 'x\r\nb: y' }],
])('refuses %s', (_what, headers) => {
  expect(() => requestHeaders(headers)).toThrow(expect.objectContaining({ code: 'invalid_request' }))
})

it('keeps what belongs to one connection on it, on the way out, with what it lists itself', () => {
  const raw = [
    'Connection',
    'close, X-Secret',
    'X-Secret',
    '1',
    'Keep-Alive',
    'timeout=5',
    'Content-Type',
    'text/plain',
  ]
  expect(responseHeaders(raw)).toEqual({ 'content-type': 'text/plain' })
})

it('joins repeated headers and keeps strange names harmless', () => {
  expect(responseHeaders(['A', '1', 'a', '2', '__proto__', 'x'])).toEqual(
    Object.fromEntries([
      ['a', '1, 2'],
      ['__proto__', 'x'],
    ]),
  )
})
