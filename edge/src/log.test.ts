import { AppError } from '@portico/shared/errors'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { logFailure, logOperation } from './log.ts'

afterEach(() => vi.restoreAllMocks())

describe('a log line', () => {
  test('of an operation is one JSON object', () => {
    const log = vi.spyOn(console, 'log').mockReturnValue()
    logOperation({
      request_id: 'req1',
      method: 'POST',
      route: '/v1/runs',
      status: 201,
      ms: 3,
      code: undefined,
      account: 'a',
    })
    expect(log.mock.calls).toHaveLength(1)
    expect(JSON.parse(String(log.mock.calls[0]?.[0]))).toEqual({
      event: 'request',
      request_id: 'req1',
      method: 'POST',
      route: '/v1/runs',
      status: 201,
      ms: 3,
      account: 'a',
    })
  })

  test('of a failure carries its causes, which no caller sees', () => {
    const log = vi.spyOn(console, 'error').mockReturnValue()
    const cause = new Error('the cause', { cause: 'its own cause' })
    logFailure('read', new AppError('internal', 'cannot read: something', { cause }))
    const line = JSON.parse(String(log.mock.calls[0]?.[0]))
    expect(line).toMatchObject({ event: 'failure', what: 'read', code: 'internal', message: 'cannot read: something' })
    expect(line.cause).toEqual([expect.stringContaining('the cause'), 'its own cause'])
  })
})
