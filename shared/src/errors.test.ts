import { expect, describe as group, test } from 'vitest'
import { AppError, describe, errorCodes, isErrorCode } from './errors.ts'

group('the table', () => {
  test.each(errorCodes)('%s has a status of HTTP, and a hint of one sentence if any', (code) => {
    const { status, hint } = describe(code)
    expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/)
    expect(status).toBeGreaterThanOrEqual(400)
    expect(status).toBeLessThan(600)
    if (hint !== undefined) expect(hint).toMatch(/^[A-Z][^\n]*\.$/)
  })

  test('what may succeed later says so with a status that a client tries again on', () => {
    for (const code of errorCodes.filter((one) => describe(one).retryable))
      expect([409, 421, 429, 503, 504], code).toContain(describe(code).status)
  })

  test('holds codes and nothing that every object has', () => {
    expect(isErrorCode('sandbox_not_found')).toBe(true)
    for (const other of ['toString', '__proto__', 'constructor', '', 'nope', 7, null, undefined, {}])
      expect(isErrorCode(other)).toBe(false)
  })
})

group('an error', () => {
  test('has status, retryable and hint of its code', () => {
    const error = new AppError('runner_disconnected', 'cannot reach the runner: it went away')
    expect([error.status, error.retryable]).toEqual([503, true])
    expect(error.hint).toContain('still exists')
    expect(new AppError('forbidden', 'cannot').hint).toBeUndefined()
  })

  test('has a message of one line, at most 500 characters', () => {
    const error = new AppError('internal', `cannot go on:\n  line\r\n\tmore ${'x'.repeat(1000)}`)
    expect(error.message).toMatch(/^cannot go on: line more x+…$/)
    expect(error.message.length).toBe(500)
  })

  test('sends code and message over a wire, and nothing of its cause', () => {
    const error = new AppError('internal', 'cannot go on', { cause: new Error('/secret/path') })
    expect(error.toWire()).toEqual({ code: 'internal', message: 'cannot go on' })
    expect(JSON.stringify(error)).not.toContain('secret')
    expect(JSON.stringify(error.toWire())).not.toContain('secret')
  })

  test('made of anything thrown keeps it as cause only', () => {
    const thrown = new Error('ENOENT /secret/path')
    const error = AppError.from(thrown)
    expect([error.code, error.cause]).toEqual(['internal', thrown])
    expect(error.message).not.toContain('secret')
    expect(AppError.from(error)).toBe(error)
    for (const value of ['text', undefined, null, 7])
      expect(AppError.from(value, 'cannot read').message).toBe('cannot read')
  })

  test('comes back from the wire, with whatever a peer may have sent', () => {
    const error = new AppError('capacity', 'cannot create: full')
    expect(AppError.fromWire(error.toWire()).toWire()).toEqual(error.toWire())
    expect(AppError.fromWire({ code: 'of_tomorrow', message: 'cannot: new' }).toWire()).toEqual({
      code: 'internal',
      message: 'cannot: new',
    })
    for (const value of [undefined, null, 'text', 7, [], {}, { code: 'moved', message: '' }, { message: 7 }])
      expect(AppError.fromWire(value).message).toBe('the other side gave no reason')
    expect(AppError.fromWire({ code: 'moved', message: 'a\nb' }).message).toBe('a b')
  })
})
