import { expect, test } from 'vitest'
import { parseRoute, sandboxHash } from './route.ts'

test('an address without a path is the list', () => {
  for (const hash of ['', '#', '#/']) expect(parseRoute(hash)).toEqual({ name: 'list' })
})

test('a sandbox opens on its terminal unless a tab is named', () => {
  expect(parseRoute('#/s/run1')).toEqual({ name: 'sandbox', run: 'run1', tab: 'terminal' })
  expect(parseRoute('#/s/run1/files')).toEqual({ name: 'sandbox', run: 'run1', tab: 'files' })
  expect(parseRoute(sandboxHash('run1', 'terminal', 'con 1/2'))).toEqual({
    name: 'sandbox',
    run: 'run1',
    tab: 'terminal',
    console: 'con 1/2',
  })
})

test('a link to a console has its token', () => {
  expect(parseRoute('#/c/run1/con1?token=a.b%2Bc')).toEqual({
    name: 'link',
    run: 'run1',
    console: 'con1',
    token: 'a.b+c',
  })
})

test.each(['#/s', '#/s/run1/nothing', '#/s/run1/files/x', '#/c/run1/con1', '#/usage/x', '#/s/a/terminal/b/c', '#/zzz'])(
  '%s leads nowhere',
  (hash) => expect(parseRoute(hash)).toEqual({ name: 'unknown' }),
)
