import { AppError } from '@portico/shared/errors'
import { describe, expect, test } from 'vitest'
import { fromPlatform, reach } from './platform-errors.ts'

const platform = (message: string, flags: object = {}) => Object.assign(new Error(message), flags)

describe('an exception of the platform', () => {
  test.each([
    [
      platform('Durable Object is overloaded. Too many requests queued.', { overloaded: true, retryable: false }),
      'overloaded',
    ],
    [platform('Durable Object reset because its code was updated.', { durableObjectReset: true }), 'overloaded'],
    [platform('Network connection lost.', { retryable: true }), 'overloaded'],
    [platform('Network connection lost.'), 'overloaded'],
    [platform('x is not a function'), 'internal'],
    ['thrown text', 'internal'],
    [undefined, 'internal'],
  ])('%s becomes %s', (thrown, code) => {
    const error = fromPlatform(thrown, 'read the sandbox')
    expect(error.code).toBe(code)
    expect(error.message).toMatch(/^cannot read the sandbox: /)
    expect(error.message).not.toContain('function')
    expect(error.cause).toBe(thrown)
  })

  test('that is an error of ours already stays as it is', async () => {
    const own = new AppError('conflict', 'cannot: because')
    await expect(reach('read', Promise.reject(own))).rejects.toBe(own)
    expect(await reach('read', Promise.resolve(3))).toBe(3)
  })
})
