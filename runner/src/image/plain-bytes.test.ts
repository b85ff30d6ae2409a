import { expect, test } from 'vitest'
import { PlainBytes } from './plain-bytes.ts'

const mib = 1 << 20

test('tars may be larger than their content by their headers, all layers together', () => {
  const plain = new PlainBytes(10 * mib)
  plain.add(40 * mib, 0)
  plain.add(34 * mib, 0)
  plain.add(1024, 1)
  expect(() => plain.add(1, 1)).toThrow('it is larger than')
})
