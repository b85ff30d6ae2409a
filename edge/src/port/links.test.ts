import { describe, expect, test } from 'vitest'
import { cookieLinks, isGood, linkCookie, linkQuery, signLink, takeLink, withoutLinkCookies } from './links.ts'

const secret = 's'.repeat(32)
const former = 'f'.repeat(32)
const of = { sandbox: `run${'a'.repeat(26)}`, port: 80, version: 3 }
const expires = 2000
const now = 1_000_000

describe('a signature', () => {
  test('counts until its second, for what it was made for, by the secret in force or the former one', async () => {
    const shown = { expires, signature: await signLink(of, expires, former) }
    expect(await isGood(of, shown, now, [secret, former])).toBe(true)
    expect(await isGood(of, shown, now, [secret])).toBe(false)
    expect(await isGood(of, shown, expires * 1000 - 1, [former])).toBe(true)
    expect(await isGood(of, shown, expires * 1000, [former])).toBe(false)
    for (const other of [
      { ...of, port: 81 },
      { ...of, version: 4 },
      { ...of, sandbox: `run${'e'.repeat(26)}` },
    ]) {
      expect(await isGood(other, shown, now, [former])).toBe(false)
    }
    expect(await isGood(of, { ...shown, expires: expires + 1 }, now, [former])).toBe(false)
  })
})

describe('a query', () => {
  const signature = 'a'.repeat(52)
  const query = linkQuery({ expires, signature })

  test('loses the link and nothing else', () => {
    const shown = { expires, signature }
    expect(takeLink(`/a?x=%20&${query}&y`)).toEqual({ path: '/a?x=%20&y', shown })
    expect(takeLink(`/a?${query}`)).toEqual({ path: '/a', shown })
    expect(takeLink('/portico_expires=1?x=portico_')).toEqual({
      path: '/portico_expires=1?x=portico_',
      shown: undefined,
    })
  })

  test('with half a link, or two, has a wrong one', () => {
    for (const wrong of [`portico_expires=${expires}`, `portico_signature=${signature}`, `${query}&${query}`]) {
      expect(takeLink(`/?${wrong}`)).toEqual({ path: '/', shown: null })
    }
  })
})

test('a cookie brings back what it was made from, and is kept from the app', () => {
  const shown = { expires, signature: 'a'.repeat(52) }
  const secure = linkCookie(80, '', shown, true, now)
  expect(secure).toMatch(/^__Host-portico-link-80=.*; Path=\/; Max-Age=1000; HttpOnly; SameSite=Lax; Secure$/)
  const older = linkCookie(80, '/sb/p/80', shown, true, now)
  expect(older).toMatch(/^portico-link-80=.*; Path=\/sb\/p\/80; .*; Secure$/)
  for (const cookie of [secure, older]) {
    const pair = cookie.split(';')[0] ?? ''
    expect(cookieLinks(`a=1; ${pair}`, 80)).toEqual([shown])
    expect(cookieLinks(pair, 8)).toEqual([])
    expect(withoutLinkCookies(`a=1; ${pair}; b=2`)).toBe('a=1; b=2')
    expect(withoutLinkCookies(pair)).toBe('')
  }
})
