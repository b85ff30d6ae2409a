import { describe, expect, test } from 'vitest'
import { AppError } from '../errors.ts'
import { closeFrame, howItEnded } from './close.ts'

const withCode = (code: string) => Object.assign(new Error('text that nobody reads'), { code })

describe('how a connection ended', () => {
  test.each([
    ['the normal close of the peer', { code: 1000 }, 'benign'],
    ['a peer that goes away', { code: 1001 }, 'benign'],
    ['a close without a code', { code: 1005 }, 'benign'],
    ['a socket that vanished', { code: 1006 }, 'gone'],
    ['a peer that restarts', { code: 1012 }, 'gone'],
    ['a peer that failed', { code: 1011 }, 'gone'],
    ['a protocol error that the peer found', { code: 1002 }, 'fault'],
    ['a message that the peer found too large', { code: 1009 }, 'fault'],
    ['a policy of the peer', { code: 1008 }, 'fault'],
    ['a code of an application', { code: 4001 }, 'gone'],
    ['a reset by the network', { error: withCode('ECONNRESET') }, 'gone'],
    ['a reset by the network with a code', { code: 1006, error: withCode('EPIPE') }, 'gone'],
    ['a frame that the WebSocket library refused', { error: withCode('WS_ERR_INVALID_OPCODE') }, 'fault'],
    [
      'a protocol error that we found',
      { own: true, code: 1006, error: new AppError('protocol_error', 'cannot') },
      'fault',
    ],
    ['a generation that we have given up', { error: new AppError('version_unsupported', 'cannot') }, 'fault'],
    ['another error of ours', { error: new AppError('runner_disconnected', 'cannot') }, 'gone'],
    ['our own close', { own: true, code: 1000 }, 'own'],
    ['our own close that the peer did not answer', { own: true, code: 1006, error: withCode('ECONNRESET') }, 'own'],
    ['something thrown that is no error', { error: 'text' }, 'gone'],
    ['nothing known', {}, 'gone'],
  ] as const)('%s', (_, facts, expected) => {
    expect(howItEnded(facts)).toBe(expected)
  })
})

describe('the close frame', () => {
  test('tells a planned end, a fault and anything else apart', () => {
    expect(closeFrame(undefined)).toEqual({ code: 1000, reason: '' })
    expect(closeFrame(new AppError('protocol_error', 'cannot read'))).toEqual({
      code: 1002,
      reason: 'protocol_error: cannot read',
    })
    expect(closeFrame(new AppError('overloaded', 'cannot go on')).code).toBe(1011)
  })

  test('the peer reads its own kind of end from it', () => {
    expect(howItEnded(closeFrame(undefined))).toBe('benign')
    expect(howItEnded(closeFrame(new AppError('protocol_error', 'cannot')))).toBe('fault')
    expect(howItEnded(closeFrame(new AppError('overloaded', 'cannot')))).toBe('gone')
  })

  test('has a reason of 123 bytes at most, in whole characters', () => {
    const { reason } = closeFrame(new AppError('overloaded', 'ü'.repeat(300)))
    expect(new TextEncoder().encode(reason).length).toBeLessThanOrEqual(123)
    expect(reason.endsWith('ü')).toBe(true)
  })
})
