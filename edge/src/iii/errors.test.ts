import { AppError, errorCodes } from '@portico/shared/errors'
import { describe, expect, test } from 'vitest'
import { Fault, faultCodes, handlerError } from './errors.ts'
import { functions } from './table.ts'

describe('an error', () => {
  const known: Partial<Record<string, string>> = {
    invalid_path: 'S001',
    image_not_allowed: 'S100',
    image_unknown: 'S100',
    image_not_installed: 'S101',
    image_pull_failed: 'S102',
    image_missing: 'S102',
    image_denied: 'S102',
    image_unsuitable: 'S102',
    image_no_space: 'S102',
    capacity: 'S400',
    quota_exceeded: 'S400',
    image_cap_exceeded: 'S400',
    boot_failed: 'S300',
    no_runner: 'S300',
    sandbox_failed: 'S300',
    internal: 'S300',
  }

  test.each(errorCodes)('%s of ours has an S-code', (code) => {
    const { code: form, message } = handlerError(Fault.from(new AppError(code, 'cannot do it: why')))
    expect(form).toBe('handler error')
    expect(message).not.toContain('\n')
    const envelope = JSON.parse(message) as { code: string; message: string; type: string; retryable: boolean }
    expect(faultCodes).toContain(envelope.code)
    expect(envelope.message).toBe('cannot do it: why')
    if (known[code] !== undefined) expect(envelope.code).toBe(known[code])
  })

  test.each([
    ['S001', 'validation', false],
    ['S002', 'validation', false],
    ['S003', 'validation', false],
    ['S004', 'validation', false],
    ['S100', 'config', false],
    ['S101', 'internal', false],
    ['S102', 'transient', true],
    ['S200', 'execution', false],
    ['S300', 'platform', false],
    ['S400', 'config', false],
  ] as const)('%s is of type %s', (code, type, retryable) => {
    expect(JSON.parse(handlerError(new Fault(code, 'why')).message)).toMatchObject({ code, type, retryable })
  })

  test('that nobody foresaw tells nothing of itself', () => {
    const { message } = handlerError(Fault.from(new TypeError('at /src/secret.ts:1')))
    expect(message).not.toContain('secret')
  })
})

test('every function has a name of its own', () => {
  for (const [id, one] of functions) expect(one.id).toBe(id)
  expect([...functions.keys()]).toEqual(expect.arrayContaining(['sandbox::create', 'sandbox::exec', 'sandbox::stop']))
})
