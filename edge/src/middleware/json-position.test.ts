import { describe, expect, test } from 'vitest'
import { whereJsonBreaks } from './json-position.ts'

const cases: [text: string, line: number, column: number, found: string][] = [
  ['{"image": "python",', 1, 20, 'the text ends too early'],
  ['{"image": python}', 1, 11, 'unexpected "p"'],
  ['{\n  "a": 1,\n  b: 2\n}', 3, 3, 'unexpected "b"'],
  ['[1, 2', 1, 6, 'the text ends too early'],
  ['[1 2]', 1, 4, 'unexpected "2"'],
  ['[1,]', 1, 4, 'unexpected "]"'],
  ['{"a":1,}', 1, 8, 'unexpected "}"'],
  ['{} {}', 1, 4, 'unexpected "{"'],
  ['', 1, 1, 'the text ends too early'],
  ['hello', 1, 1, 'unexpected "h"'],
  ['{"a": "open', 1, 7, 'unexpected "\\""'],
  ['[1}', 1, 3, 'unexpected "}"'],
  ['{"a" 1}', 1, 6, 'unexpected "1"'],
  ['[01]', 1, 3, 'unexpected "1"'],
  ['"a\nb"', 1, 1, 'unexpected "\\""'],
  ['[[[[', 1, 5, 'the text ends too early'],
]

describe('the place where JSON breaks', () => {
  test.each(cases)('%j', (text, line, column, found) => {
    expect(() => JSON.parse(text)).toThrow()
    expect(whereJsonBreaks(text)).toEqual({ line, column, found })
  })

  test('is behind everything that is right, however deep', () => {
    const text = `${'['.repeat(100_000)}${'{"a":[true,-1.5e3,null,"\\u00e9"]},'.repeat(1000)}?`
    expect(whereJsonBreaks(text).found).toBe('unexpected "?"')
  })
})
