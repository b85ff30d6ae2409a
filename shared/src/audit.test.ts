import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { auditGenesis, canonicalJson, importAuditKey, sealEntry, verifyAudit } from './audit.ts'

const key = 'ab'.repeat(32)

async function log(count: number, data: (seq: number) => Record<string, unknown> = (seq) => ({ n: seq })) {
  const signer = await importAuditKey(key)
  const lines: string[] = []
  let last = auditGenesis
  for (let seq = 0; seq < count; seq++) {
    const entry = { seq, ts: new Date(seq).toISOString(), sandbox_id: 'run1', event: 'exec.start', data: data(seq) }
    last = await sealEntry(signer, last, entry)
    lines.push(JSON.stringify({ hmac: last, ...entry }))
  }
  return { lines, last }
}

describe('a log', () => {
  test('as it was written holds, whatever the order of members and however it is spaced', async () => {
    const { lines, last } = await log(5, (seq) => ({
      z: seq,
      command: 'grüße \u2028 "x"',
      a: [1.5, null, { b: true }],
    }))
    const spaced = lines.flatMap((line) => [JSON.stringify(JSON.parse(line), undefined, 1).replaceAll('\n', ' '), ''])
    expect(await verifyAudit(spaced, key)).toEqual({ ok: true, entries: 5, last })
    expect(await verifyAudit([], key)).toEqual({ ok: true, entries: 0, last: null })
  })

  test('is sealed as the documented formula says', async () => {
    const { lines } = await log(1)
    const { hmac, ...entry } = JSON.parse(lines[0] ?? '') as { hmac: string }
    const bytes = new TextEncoder().encode(`${'0'.repeat(64)}\n${canonicalJson(entry)}`)
    const raw = Uint8Array.from({ length: 32 }, () => 0xab)
    const secret = await crypto.subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
    const mac = new Uint8Array(await crypto.subtle.sign('HMAC', secret, bytes))
    expect(hmac).toBe(`sha256:${Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join('')}`)
  })

  test('in which an entry was edited, dropped, added, doubled or moved is found out at that line', async () => {
    const { lines } = await log(6)
    const edit = (change: object) =>
      lines.map((line, at) => (at === 3 ? JSON.stringify({ ...(JSON.parse(line) as object), ...change }) : line))
    for (const change of [{ event: 'exec.exit' }, { data: { n: 4 } }, { ts: new Date(9).toISOString() }, { seq: 7 }])
      expect(await verifyAudit(edit(change), key)).toMatchObject({ ok: false, line: 4 })
    expect(await verifyAudit(edit({ sandbox_id: 'run2' }), key)).toMatchObject({ ok: false, line: 4 })
    expect(await verifyAudit(edit({ note: 'not sealed' }), key)).toMatchObject({ ok: false, line: 4 })
    expect(await verifyAudit(lines.toSpliced(3, 1), key)).toMatchObject({ ok: false, line: 4 })
    expect(await verifyAudit(lines.toSpliced(3, 0, lines[2] ?? ''), key)).toMatchObject({ ok: false, line: 4 })
    expect(await verifyAudit(lines.toSpliced(3, 2, lines[4] ?? '', lines[3] ?? ''), key)).toMatchObject({ line: 4 })
    expect(await verifyAudit(lines.slice(1), key)).toMatchObject({ ok: false, line: 1 })
    expect(await verifyAudit(lines, 'cd'.repeat(32))).toMatchObject({ ok: false, line: 1 })
  })

  test('whose end is missing holds, and its last seal tells', async () => {
    const { lines, last } = await log(4)
    const verdict = await verifyAudit(lines.slice(0, -1), key)
    expect(verdict).toMatchObject({ ok: true, entries: 3 })
    expect(verdict).not.toMatchObject({ last })
  })

  test('cannot be checked with what is no key', async () => {
    await expect(verifyAudit([], 'no key')).rejects.toThrow('64 hex digits')
  })
})

describe('canonical JSON', () => {
  test('is that of RFC 8785', () => {
    const value = {
      numbers: [Number('333333333.33333329'), 1e30, 4.5, 2e-3, 1e-27],
      string: '€$\u000f\nA\'B"\\\\"/',
      literals: [null, true],
    }
    expect(canonicalJson(value)).toBe(
      '{"literals":[null,true],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    )
    expect(canonicalJson({ '\ufb33': 1, '\ud83d\ude00': 2, a: 3 })).toBe('{"a":3,"\ud83d\ude00":2,"\ufb33":1}')
  })

  test('does not depend on how a value was written, and loses nothing of it', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value)
        const read: unknown = JSON.parse(text)
        expect(JSON.stringify(canonicalJson(read))).toBe(JSON.stringify(text))
        expect(canonicalJson(read)).toBe(canonicalJson(JSON.parse(JSON.stringify(value))))
      }),
    )
  })
})
