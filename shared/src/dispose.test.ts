import { describe, expect, test } from 'vitest'
import { abortable, Cleanup, deadline } from './dispose.ts'

describe('clean-up', () => {
  test('runs once, last in first out, one after the other', async () => {
    const order: string[] = []
    const cleanup = new Cleanup()
    cleanup.add('first', () => order.push('first'))
    cleanup.add('slow', async () => {
      await Promise.resolve()
      order.push('slow')
    })
    cleanup.add('last', () => order.push('last'))
    await Promise.all([cleanup.run(), cleanup.run()])
    expect(order).toEqual(['last', 'slow', 'first'])
  })

  test('runs every step even if others fail, and names those that did', async () => {
    const order: string[] = []
    const cleanup = new Cleanup()
    cleanup.add('file', () => order.push('file'))
    cleanup.add('socket', () => {
      throw new Error('EBUSY')
    })
    cleanup.add('mount', () => Promise.reject(new Error('EBUSY')))
    const failure = await cleanup.run().catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(AggregateError)
    expect((failure as AggregateError).message).toBe('cannot free mount; cannot free socket')
    expect(order).toEqual(['file'])
  })

  test('what is added late runs at once, also after a failure', async () => {
    const cleanup = new Cleanup()
    cleanup.add('broken', () => Promise.reject(new Error('EBUSY')))
    await cleanup.run().catch(() => undefined)
    await new Promise<void>((resolve) => cleanup.add('late', resolve))
  })

  test('what is added late does not wait for the steps under way', async () => {
    const gate = Promise.withResolvers<void>()
    const cleanup = new Cleanup()
    cleanup.add('slow', () => gate.promise)
    const ran = cleanup.run()
    await new Promise<void>((resolve) => cleanup.add('late', resolve))
    gate.resolve()
    await ran
  })

  test('a late step that fails is nobody’s rejection', async () => {
    const cleanup = new Cleanup()
    await cleanup.run()
    cleanup.add('late', () => Promise.reject(new Error('EBUSY')))
    await new Promise((resolve) => setImmediate(resolve))
  })

  test('is what await using runs', async () => {
    const order: string[] = []
    {
      await using cleanup = new Cleanup()
      cleanup.add('step', () => order.push('freed'))
      order.push('body')
    }
    expect(order).toEqual(['body', 'freed'])
  })
})

describe('a deadline', () => {
  test('aborts with an error of its own', async () => {
    const signal = deadline(1, 'boot the machine')
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    expect(signal.reason).toMatchObject({
      code: 'deadline',
      message: 'cannot boot the machine: not done within 1 ms',
    })
  })

  test('aborts with the first of the other signals', () => {
    const controller = new AbortController()
    const signal = deadline(60_000, 'wait', undefined, controller.signal)
    expect(signal.aborted).toBe(false)
    controller.abort('enough')
    expect(signal.reason).toBe('enough')
    expect(deadline(60_000, 'wait', AbortSignal.abort('before')).reason).toBe('before')
  })

  test('is taken back by disposing of it', async () => {
    const signal = deadline(1, 'wait')
    signal[Symbol.dispose]()
    const other = deadline(2, 'wait longer')
    await new Promise((resolve) => other.addEventListener('abort', resolve))
    expect(signal.aborted).toBe(false)
  })
})

describe('abortable', () => {
  test('gives the value or the failure of its promise', async () => {
    const { signal } = new AbortController()
    expect(await abortable(Promise.resolve(7), signal)).toBe(7)
    await expect(abortable(Promise.reject(new Error('no')), signal)).rejects.toThrow('no')
  })

  test('rejects as soon as the signal aborts, and a later failure is nobody’s rejection', async () => {
    const late = Promise.withResolvers<never>()
    const controller = new AbortController()
    const waiting = abortable(late.promise, controller.signal)
    controller.abort('enough')
    await expect(waiting).rejects.toBe('enough')
    await expect(abortable(late.promise, AbortSignal.abort('before'))).rejects.toBe('before')
    late.reject(new Error('late'))
    await new Promise((resolve) => setImmediate(resolve))
  })
})
