import { expect, it } from 'vitest'
import { replay } from './watch.ts'

it('what a watch told comes to what is there, through moves and removals of whole directories', () => {
  const there = replay([
    { type: 'ready' },
    { type: 'create', path: '/a', is_dir: true },
    { type: 'create', path: '/a/b', is_dir: true },
    { type: 'create', path: '/a/b/one', is_dir: false },
    { type: 'modify', path: '/a/b/one', is_dir: false },
    { type: 'create', path: '/ab', is_dir: false },
    { type: 'move', path: '/a', to: '/c', is_dir: true },
    { type: 'create', path: '/c/b/two', is_dir: false },
    { type: 'move', path: '/c/b/two', to: '/c/b/three', is_dir: false },
    { type: 'create', path: '/gone', is_dir: true },
    { type: 'create', path: '/gone/file', is_dir: false },
    { type: 'delete', path: '/gone', is_dir: true },
  ])
  expect([...there].sort()).toEqual(['d /c', 'd /c/b', 'f /ab', 'f /c/b/one', 'f /c/b/three'])
})
