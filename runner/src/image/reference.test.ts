import { expect, test } from 'vitest'
import { formatReference, isMoving, isReference, parseReference, repositoryOf, resolvedName } from './reference.ts'

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`

test.each([
  ['alpine', 'docker.io/library/alpine:latest'],
  ['alpine:3.20', 'docker.io/library/alpine:3.20'],
  ['acme/app', 'docker.io/acme/app:latest'],
  ['docker.io/alpine:3', 'docker.io/library/alpine:3'],
  ['index.docker.io/acme/app:1', 'docker.io/acme/app:1'],
  ['ghcr.io/acme/app/web:1.2-rc_3', 'ghcr.io/acme/app/web:1.2-rc_3'],
  ['localhost/app:1', 'localhost/app:1'],
  ['localhost:5000/app', 'localhost:5000/app:latest'],
  ['127.0.0.1:5000/a/b:c', '127.0.0.1:5000/a/b:c'],
  ['[::1]:5000/app:1', '[::1]:5000/app:1'],
  [`alpine@${digest}`, `docker.io/library/alpine@${digest}`],
  [`alpine:3.20@${digest}`, `docker.io/library/alpine:3.20@${digest}`],
])('%s is %s', (text, whole) => {
  expect(formatReference(parseReference(text))).toBe(whole)
  expect(formatReference(parseReference(whole))).toBe(whole)
})

test.each([
  ['', 'empty'],
  ['Alpine', 'path'],
  ['a//b', 'path'],
  ['a/../b', 'path'],
  ['-a', 'path'],
  ['a b', 'path'],
  ['a\nb', 'path'],
  ['app:', 'tag'],
  ['app:-x', 'tag'],
  [`app:${'x'.repeat(129)}`, 'tag'],
  ['app@sha256:12', 'digest'],
  [`app@md5:${'0'.repeat(64)}`, 'digest'],
  ['host.example:99999999/app', 'host name'],
  ['-host.example/app', 'host name'],
  ['host.example/', 'path'],
  [`host.example/${'a/'.repeat(200)}a`, 'path is longer'],
  ['x'.repeat(600), '512'],
])('%j is refused because of its %s', (text, why) => {
  expect(isReference(text)).toBe(false)
  expect(() => parseReference(text)).toThrow(why)
})

test('a name moves when it has neither a digest nor a tag that stays', () => {
  const moving = ['alpine', 'alpine:latest', 'node:lts', 'debian:stable']
  const fixed = ['alpine:3.20', `alpine@${digest}`, `alpine:latest@${digest}`]
  expect(moving.map((text) => isMoving(parseReference(text)))).toEqual(moving.map(() => true))
  expect(fixed.map((text) => isMoving(parseReference(text)))).toEqual(fixed.map(() => false))
})

test('the name of an image has its registry and digest and no tag', () => {
  const reference = parseReference('acme/app:1')
  expect(resolvedName(reference, digest)).toBe(`docker.io/acme/app@${digest}`)
  expect(repositoryOf(reference)).toBe('docker.io/acme/app')
})
