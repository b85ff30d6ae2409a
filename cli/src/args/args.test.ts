import { InvalidArgumentError } from 'commander'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { count } from './count.ts'
import { duration, positiveDuration, wholeSeconds } from './duration.ts'
import { variable } from './environment.ts'
import { limit, sizeLimit } from './limit.ts'
import { label } from './marks.ts'
import { mode } from './mode.ts'
import { place } from './place.ts'
import { size } from './size.ts'

describe('a duration', () => {
  it.each([
    ['30', 30],
    ['1.5', 1.5],
    ['30s', 30],
    ['500ms', 0.5],
    ['5m', 300],
    ['1h30m', 5400],
    ['1d', 86_400],
    ['1m0.1s', 60.1],
    ['0', 0],
  ])('%s is %d seconds', (text, seconds) => {
    expect(duration(text)).toBe(seconds)
  })

  it.each(['', 's', '-1', '1 m', '5 minutes', '1e3', '0x10', '1..5s', 'm5'])('%j is none', (text) => {
    expect(() => duration(text)).toThrow(InvalidArgumentError)
  })

  it('of nothing is no timeout', () => {
    expect(() => positiveDuration('0s')).toThrow(InvalidArgumentError)
    expect(positiveDuration('10ms')).toBe(0.01)
  })

  it('of whole seconds is rounded up, so that a little is not never', () => {
    expect(wholeSeconds('10ms')).toBe(1)
    expect(wholeSeconds('0')).toBe(0)
  })
})

describe('a size', () => {
  it.each([
    ['512', 512],
    ['512M', 512],
    ['512m', 512],
    ['512MiB', 512],
    ['2G', 2048],
    ['1.5G', 1536],
    ['2GB', 2048],
    ['1T', 1_048_576],
  ])('%s is %d MiB', (text, mib) => {
    expect(size(text)).toBe(mib)
  })

  it.each(['', '0', '-1', '1.1M', '5K', 'G', '1 G'])('%j is none', (text) => {
    expect(() => size(text)).toThrow(InvalidArgumentError)
  })
})

describe('a count', () => {
  it('is a whole number from 1', () => {
    expect(count('12')).toBe(12)
    for (const text of ['0', '-1', '1.5', 'two', '', '0x2']) expect(() => count(text)).toThrow(InvalidArgumentError)
  })
})

describe('a variable', () => {
  afterEach(() => vi.unstubAllEnvs())

  it('adds to those before, the last of a name wins', () => {
    expect(variable('A=1')).toEqual({ A: '1' })
    expect(variable('A=2=3\n4', { A: '1', B: '' })).toEqual({ A: '2=3\n4', B: '' })
    expect(variable('A=')).toEqual({ A: '' })
  })

  it('without a value is ours', () => {
    vi.stubEnv('FROM_HERE', 'x')
    expect(variable('FROM_HERE')).toEqual({ FROM_HERE: 'x' })
    expect(() => variable('NOT_FROM_HERE')).toThrow(InvalidArgumentError)
  })

  it.each(['', '=x', '1A=x', 'A-B=x', 'A B=x'])('%j is none', (text) => {
    expect(() => variable(text)).toThrow(InvalidArgumentError)
  })
})

describe('a label', () => {
  it('adds to those before, the last of a name wins; it may be empty', () => {
    expect(label('team=red')).toEqual({ team: 'red' })
    expect(label('a=b=c', { a: '1', team: 'red' })).toEqual({ a: 'b=c', team: 'red' })
    expect(label('a=')).toEqual({ a: '' })
  })

  it.each(['', '=x', 'team'])('%j is none', (text) => {
    expect(() => label(text)).toThrow(InvalidArgumentError)
  })
})

describe('a mode', () => {
  it('is three or four octal digits', () => {
    expect([mode('755'), mode('4750')]).toEqual([0o755, 0o4750])
    for (const text of ['', '75', '758', 'u+x', '07777']) expect(() => mode(text)).toThrow(InvalidArgumentError)
  })
})

describe('a place', () => {
  it.each([
    ['run1:/app', { where: 'sandbox', id: 'run1', path: '/app' }],
    ['run1:/', { where: 'sandbox', id: 'run1', path: '/' }],
    ['run1:/a:b', { where: 'sandbox', id: 'run1', path: '/a:b' }],
    ['-', { where: 'stream' }],
    ['./a:/b', { where: 'here', path: './a:/b' }],
    ['run1:app', { where: 'here', path: 'run1:app' }],
    ['/tmp/a:/b', { where: 'here', path: '/tmp/a:/b' }],
    ['.', { where: 'here', path: '.' }],
  ])('%s', (text, found) => {
    expect(place(text)).toEqual(found)
  })
})

describe('a limit', () => {
  it('is a whole number, a size where it is of memory, or none', () => {
    expect([limit('0'), limit('12'), limit('none')]).toEqual([0, 12, 'none'])
    expect([sizeLimit('2G'), sizeLimit('none')]).toEqual([2048, 'none'])
  })

  it.each(['', '-1', '1.5', 'no', '1G'])('%j is none', (text) => {
    expect(() => limit(text)).toThrow(InvalidArgumentError)
  })
})
