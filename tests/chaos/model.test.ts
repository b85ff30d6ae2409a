import type { Sandbox } from '@portico/sdk'
import { describe, expect, it } from 'vitest'
import { judgeLog, Model } from './model.ts'
import { Random } from './random.ts'

const sure = (text: string) => ({ text, acknowledged: true })
const unsure = (text: string) => ({ text, acknowledged: false })

describe('the tokens of a sandbox', () => {
  const tokens = [sure('a'), unsure('b'), sure('c')]

  it.each([['a\nc\n'], ['a\nb\nc\n'], ['a\nc\nb\n']])('may be %j', (text) => {
    expect(judgeLog(tokens, text)).toEqual([])
  })

  it.each([
    ['a\n', 'c was acknowledged and is not there'],
    ['', 'a was acknowledged and is not there'],
    ['a\na\nc\n', 'a ran 2 times'],
    ['a\nb\nb\nc\n', 'b ran 2 times'],
    ['c\na\n', 'the order is c a and was a c'],
    ['a\nc\nd\n', 'd is there and was never sent to it'],
  ])('may not be %j', (text, finding) => {
    expect(judgeLog(tokens, text)).toContain(finding)
  })
})

describe('sandboxes that nobody answered for', () => {
  const client = { name: 'first', region: 'us' }
  const failing = () => Promise.reject(new Error('no answer'))

  it('are explained by the call that may have made them, and no more than it asked for', async () => {
    const model = new Model()
    await expect(model.making(client, 'parent', 2, failing)).rejects.toThrow('no answer')
    expect(model.count).toBe(0)
    const child = (id: string) => ({ id, labels: { chaos: 'other' }, forked_from: 'parent' })
    expect(model.explains(client, child('1'))).toBe(true)
    expect(model.explains(client, child('1'))).toBe(true)
    expect(model.explains({ ...client }, child('2'))).toBe(false)
    expect(model.explains(client, child('2'))).toBe(true)
    expect(model.explains(client, child('3'))).toBe(false)
    expect(model.explains(client, { id: '4', labels: { chaos: 'other' } })).toBe(false)
  })

  it('are told apart from those that are acknowledged twice', () => {
    const model = new Model()
    const handle = { id: 'one' } as Sandbox
    expect(model.add(handle, client, [])).toBe(true)
    expect(model.add(handle, client, [])).toBe(false)
  })
})

describe('seeded numbers', () => {
  it('are the same for the same seed, and others for another', () => {
    const draw = (seed: number) => {
      const random = new Random(seed)
      return [random.next(), random.between(5, 6), random.weighted({ a: 1, b: 3 }), random.shuffled([1, 2, 3, 4, 5])]
    }
    expect(draw(7)).toEqual(draw(7))
    expect(draw(7)).not.toEqual(draw(8))
  })
})
