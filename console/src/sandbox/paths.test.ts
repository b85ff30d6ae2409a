import { expect, test } from 'vitest'
import { crumbs, joined, resolved } from './paths.ts'

test('names join their folder with one slash', () => {
  expect([joined('/', 'a'), joined('/a', 'b')]).toEqual(['/a', '/a/b'])
})

test('each folder on the way has its own path', () => {
  expect(crumbs('/a/b')).toEqual([
    { name: '/', path: '/' },
    { name: 'a', path: '/a' },
    { name: 'b', path: '/a/b' },
  ])
})

test('what is typed is a path from here or from the root', () => {
  expect(['..', 'x/./y', '/etc//ssl/', '../../..', ''].map((typed) => resolved('/home/me', typed))).toEqual([
    '/home',
    '/home/me/x/y',
    '/etc/ssl',
    '/',
    '/home/me',
  ])
})
