import { AppError } from '@portico/shared/errors'
import type { OutputRecord } from '@portico/shared/process-records'
import { describe, expect, test } from 'vitest'
import { AsEvents } from './as-events.ts'

const encoder = new TextEncoder()

function told(records: readonly OutputRecord[], events = new AsEvents('text', 'req1')): string {
  return new TextDecoder().decode(events.translate(records))
}

function stdout(offset: number, bytes: Uint8Array | string): OutputRecord {
  return { kind: 'stdout', offset, bytes: typeof bytes === 'string' ? encoder.encode(bytes) : bytes }
}

describe('an event', () => {
  test('has the offset behind its text as its id, and its text on one line', () => {
    expect(told([stdout(3, 'a\n"b"\r\n')])).toBe('event: stdout\nid: 10\ndata: {"data":"a\\n\\"b\\"\\r\\n"}\n\n')
  })

  test('of a character that is cut comes with its rest, and ids never stand within it', () => {
    const [first = 0, second = 0] = encoder.encode('é')
    const events = new AsEvents('text', 'req1')
    expect(told([stdout(0, Uint8Array.of(0x78, first))], events)).toBe('event: stdout\nid: 1\ndata: {"data":"x"}\n\n')
    const warning: OutputRecord = { kind: 'stderr', offset: 2, bytes: encoder.encode('!') }
    expect(told([warning], events)).toBe('event: stderr\nid: 3\ndata: {"data":"!"}\n\n')
    expect(told([stdout(3, Uint8Array.of(second))], events)).toBe('event: stdout\nid: 4\ndata: {"data":"é"}\n\n')
  })

  test('of a character that never comes whole shows it as U+FFFD before the gap, or the end', () => {
    const events = new AsEvents('text', 'req1')
    const gap: OutputRecord = { kind: 'gap', offset: 100, lost: 98 }
    expect(told([stdout(0, Uint8Array.of(0x78, 0xc3)), gap], events)).toBe(
      'event: stdout\nid: 1\ndata: {"data":"x"}\n\nevent: stdout\nid: 2\ndata: {"data":"\ufffd"}\n\nevent: gap\nid: 100\ndata: {"lost":98}\n\n',
    )
    const end: OutputRecord = { kind: 'end', offset: 101, json: '{"exit_code":0,"timed_out":false,"duration_ms":2.5}' }
    expect(told([stdout(100, Uint8Array.of(0xf0)), end], events)).toBe(
      'event: stdout\nid: 101\ndata: {"data":"\ufffd"}\n\nevent: exit\nid: 101\ndata: {"exit_code":0,"timed_out":false,"duration_ms":2.5}\n\n',
    )
  })

  test('in base64 has every byte as it is', () => {
    const all = Uint8Array.from({ length: 40_000 }, (_, index) => index & 0xff)
    const text = told([stdout(0, all)], new AsEvents('base64', 'req1'))
    const { data } = JSON.parse(text.split('data: ')[1] ?? '') as { data: string }
    expect(Uint8Array.from(atob(data), (char) => char.charCodeAt(0))).toEqual(all)
  })

  test("says that nothing is new; a shell's marks are no event", () => {
    expect(told([{ kind: 'nothing', offset: 5 }])).toBe('event: heartbeat\ndata: {}\n\n')
    expect(told([{ kind: 'mark', offset: 5, json: '{}' }])).toBe('')
  })

  test('of an error has the body that any answer has', () => {
    const bytes = new AsEvents('text', 'req1').failure(new AppError('runner_disconnected', 'cannot go on: cut'))
    const [name, data = ''] = new TextDecoder().decode(bytes).split('\ndata: ')
    expect(name).toBe('event: error')
    expect(JSON.parse(data)).toMatchObject({ code: 'runner_disconnected', retryable: true, request_id: 'req1' })
  })

  test.each(['', '{}', '{"exit_code":"0"}', '[]'])('of an end that no agent tells is refused: %s', (json) => {
    expect(() => told([{ kind: 'end', offset: 0, json }])).toThrow(expect.objectContaining({ code: 'guest_error' }))
  })
})
