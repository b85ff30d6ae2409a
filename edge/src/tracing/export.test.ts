import { describe, expect, test } from 'vitest'
import { headersOf, tracesUrl } from './export.ts'

test.each([
  ['https://collector.example:4318', 'https://collector.example:4318/v1/traces'],
  ['https://collector.example/otlp/', 'https://collector.example/otlp/v1/traces'],
])('spans go to the path of traces below %s', (endpoint, url) => expect(tracesUrl(endpoint)).toBe(url))

describe('headers', () => {
  test('are pairs, with values percent-encoded', () => {
    expect(headersOf('authorization=Bearer%20a=b, x-team = one')).toEqual({
      authorization: 'Bearer a=b',
      'x-team': 'one',
    })
  })

  test.each(['', 'nothing', '=value', 'a b=c', 'a=%', ','])('that are none are left out: %j', (text) =>
    expect(headersOf(text)).toEqual({}),
  )
})
