import { expect, test } from 'vitest'
import { joinOrBegin, type SharedWork } from './shared-work.ts'

test('callers for the same key share one piece of work; a later one hears the last step', async () => {
  const { underWay, works, begin } = scene()
  const first: string[] = []
  const second: string[] = []
  const one = joinOrBegin(underWay, 'key', begin).join(undefined, (step) => first.push(step))
  works[0]?.onStep('a')
  const two = joinOrBegin(underWay, 'key', begin).join(undefined, (step) => second.push(step))
  works[0]?.onStep('b')
  works[0]?.resolve('done')
  expect(await Promise.all([one, two])).toEqual(['done', 'done'])
  expect([first, second, works.length]).toEqual([['a', 'b'], ['a', 'b'], 1])
})

test('one caller that gives up does not end the work for the other', async () => {
  const { underWay, works, begin } = scene()
  const leaving = new AbortController()
  const one = joinOrBegin(underWay, 'key', begin).join(leaving.signal, () => undefined)
  const two = joinOrBegin(underWay, 'key', begin).join(undefined, () => undefined)
  leaving.abort(new Error('enough'))
  await expect(one).rejects.toThrow('enough')
  expect(works[0]?.signal.aborted).toBe(false)
  works[0]?.resolve('done')
  expect(await two).toBe('done')
})

test('the last caller that gives up ends the work and waits until it has ended; the next begins anew', async () => {
  const { underWay, works, begin } = scene()
  const leaving = new AbortController()
  let left = false
  const one = joinOrBegin(underWay, 'key', begin)
    .join(leaving.signal, () => undefined)
    .finally(() => {
      left = true
    })
  one.catch(() => undefined)
  leaving.abort(new Error('enough'))
  await Promise.resolve()
  expect([works[0]?.signal.aborted, left]).toEqual([true, false])
  const next = joinOrBegin(underWay, 'key', begin).join(undefined, () => undefined)
  works[0]?.reject(new Error('ended'))
  await expect(one).rejects.toThrow('enough')
  works[1]?.resolve('again')
  expect(await next).toBe('again')
})

test('after it failed, the next call begins anew', async () => {
  const { underWay, works, begin } = scene()
  const one = joinOrBegin(underWay, 'key', begin).join(undefined, () => undefined)
  works[0]?.reject(new Error('no'))
  await expect(one).rejects.toThrow('no')
  expect(underWay.size).toBe(0)
})

function scene() {
  const works: (PromiseWithResolvers<string> & { signal: AbortSignal; onStep: (step: string) => void })[] = []
  const begin = (signal: AbortSignal, onStep: (step: string) => void) => {
    const work = { ...Promise.withResolvers<string>(), signal, onStep }
    works.push(work)
    return work.promise
  }
  return { underWay: new Map<string, SharedWork<string, string>>(), works, begin }
}
