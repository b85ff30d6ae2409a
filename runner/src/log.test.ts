import { AppError } from '@portico/shared/errors'
import { pino } from 'pino'
import { expect, it } from 'vitest'
import { describeError, logged } from './log.ts'

function capture() {
  const lines: Record<string, unknown>[] = []
  const write = (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>)
  return { lines, log: pino({ serializers: { error: describeError }, messageKey: 'event' }, { write }) }
}

it('writes one line for an operation that succeeds', async () => {
  const { lines, log } = capture()
  expect(await logged(log, 'sandbox.create', { sandbox: 'x' }, async () => 7)).toBe(7)
  expect(lines).toEqual([
    expect.objectContaining({ event: 'sandbox.create', sandbox: 'x', outcome: 'ok', ms: expect.any(Number) }),
  ])
})

it('writes one line with the code and the causes for an operation that fails', async () => {
  const { lines, log } = capture()
  const failing = async () => {
    throw new AppError('boot_failed', 'cannot boot: no answer', { cause: new Error('inner', { cause: 'innermost' }) })
  }
  await expect(logged(log, 'sandbox.create', {}, failing)).rejects.toThrow('cannot boot')
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatchObject({
    outcome: 'boot_failed',
    error: { code: 'boot_failed', message: 'cannot boot: no answer', causes: ['inner', 'innermost'] },
  })
  expect(JSON.stringify(lines)).not.toContain(import.meta.filename)
})
