/** The web page as the Worker sends it: its files alone, each with the policy that keeps everything else off it. */

import { describe, expect, test } from 'vitest'
import { ask } from './client.ts'

const page = async () => await (await ask('/console/', { key: '' })).text()

describe('the page', () => {
  test('is sent to whoever asks, with a policy that lets nothing but its own files run or be reached', async () => {
    const response = await ask('/console/', { key: '' })
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
    const policy = response.headers.get('content-security-policy') ?? ''
    for (const rule of [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "connect-src 'self'",
      "frame-ancestors 'none'",
      "base-uri 'none'",
      "form-action 'none'",
    ]) {
      expect(policy.split('; ')).toContain(rule)
    }
    expect(policy).not.toContain('unsafe')
    expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    expect(response.headers.get('referrer-policy')).toBe('no-referrer')
    expect(response.headers.get('cross-origin-opener-policy')).toBe('same-origin')
    expect(response.headers.get('cache-control')).toBe('no-cache')
  })

  test('names only files that are there, with their types, to be kept for good', async () => {
    const named = [...(await page()).matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = '']) => path)
    expect(named.map((path) => path.replace(/.*\./, '')).sort()).toEqual(['css', 'js', 'svg'])
    for (const path of named) {
      const response = await ask(path, { key: '' })
      expect(response.status).toBe(200)
      expect(response.headers.get('content-type')).toMatch(/^(text\/css|text\/javascript|image\/svg\+xml)/)
      expect(response.headers.get('cache-control')).toContain('immutable')
      expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
      expect((await response.arrayBuffer()).byteLength).toBeGreaterThan(100)
    }
  })

  test('has nothing of its own inline', async () => {
    expect(await page()).not.toMatch(/<style|style=|<script(?![^>]*src=)|\son\w+=/)
  })

  test.each([
    '/console/assets/none.js',
    '/console/assets/index.html',
    '/console/assets/..%2Findex.html',
    '/console/index.html',
    '/console/assets/x',
  ])('%s is not there', async (path) => {
    const response = await ask(path, { key: '' })
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({ code: 'not_found' })
  })
})

describe('the front of the host', () => {
  test('leads a browser to the page', async () => {
    for (const [path, status] of [
      ['/', 302],
      ['/console', 308],
    ] as const) {
      const response = await ask(path, { key: '', headers: { accept: 'text/html,*/*' }, redirect: 'manual' })
      expect([response.status, response.headers.get('location')]).toEqual([status, '/console/'])
      await response.arrayBuffer()
    }
  })

  test('has nothing for a program', async () => {
    const response = await ask('/', { key: '', headers: { accept: 'application/json' } })
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({ error: 'cannot find /: there is no such path', code: 'not_found' })
  })
})
