/** The attachment against an agent of its own: what it asks for after a cut, and how often the process gets each byte. */

import { FakeClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import type { OutputRecord } from '@portico/shared/process-records'
import { describe, expect, test } from 'vitest'
import { ScriptedProcess } from '../../test/scripted-process.ts'
import { Attachment, type AttachmentOptions } from './attachment.ts'

const text = new TextDecoder()
const bytes = (string: string) => new TextEncoder().encode(string)

/** An attachment to a scripted process, and what it handed on. */
function attached(process: ScriptedProcess, more: Partial<AttachmentOptions> = {}) {
  const seen: string[] = []
  const clock = new FakeClock(1000)
  const attachment = new Attachment({
    wire: process,
    clock,
    from: 0,
    stdinEnd: 0,
    random: () => 0.5,
    onOpen: () => undefined,
    onRecords: (records) => void seen.push(...records.map(shown)),
    ...more,
  })
  return { attachment, clock, seen }
}

function shown(record: OutputRecord): string {
  if (record.kind === 'stdout' || record.kind === 'stderr') return `${record.offset} ${text.decode(record.bytes)}`
  return record.kind === 'gap' ? `${record.offset} gap ${record.lost}` : record.kind
}

describe('output', () => {
  test('goes on where it stood after a cut, and ends with the process', async () => {
    const process = new ScriptedProcess()
    const { attachment, seen } = attached(process)
    process.print('hello ')
    const first = attachment.connect()
    await expect.poll(() => seen).toEqual(['0 hello '])
    process.cut()
    expect(await first).toMatchObject({ kind: 'cut', error: { code: 'runner_disconnected' } })
    process.print('world')
    const second = attachment.connect()
    await expect.poll(() => seen).toEqual(['0 hello ', '6 world'])
    process.end(7)
    expect(await second).toMatchObject({ kind: 'over', ending: { exit_code: 7 } })
    expect(attachment.state).toBe('over')
    expect(process.asked).toEqual([0, 6])
  })

  test('that is no longer kept is told as a gap', async () => {
    const process = new ScriptedProcess()
    const { attachment, seen } = attached(process)
    process.print('0123456789')
    process.forgetUntil(4)
    process.end(0)
    await attachment.connect()
    expect(seen).toEqual(['4 gap 4', '4 456789'])
  })

  test('is waited for longer after each failure, and the first delay is back after a success', async () => {
    const process = new ScriptedProcess()
    const { attachment, seen } = attached(process)
    process.refuse = new AppError('runner_disconnected', 'cannot: away')
    const delays: number[] = []
    for (let attempt = 0; attempt < 8; attempt++) {
      expect(await attachment.connect()).toMatchObject({ kind: 'cut' })
      delays.push(attachment.retryMs())
    }
    expect(delays).toEqual([75, 150, 300, 600, 1200, 2400, 3750, 3750])
    process.refuse = undefined
    process.print('x')
    const open = attachment.connect()
    await expect.poll(() => seen).toEqual(['0 x'])
    process.cut()
    await open
    expect(attachment.retryMs()).toBe(75)
  })

  test('that stays silent for too long is a cut', async () => {
    const process = new ScriptedProcess()
    const { attachment, clock } = attached(process)
    const open = attachment.connect()
    await expect.poll(() => attachment.state).toBe('open')
    await clock.advance(50_000)
    expect(await open).toMatchObject({ kind: 'cut', error: { code: 'runner_disconnected' } })
    expect(clock.pending).toBe(0)
  })

  test('that nobody wants any longer is let alone', async () => {
    const process = new ScriptedProcess()
    const { attachment } = attached(process)
    const open = attachment.connect()
    await expect.poll(() => attachment.state).toBe('open')
    attachment.leave()
    expect(await open).toEqual({ kind: 'left' })
    await expect.poll(() => process.followers).toBe(0)
  })
})

describe('input', () => {
  test('reaches the process once, whatever a cut did to it', async () => {
    for (let taken = 0; taken <= 6; taken++) {
      const process = new ScriptedProcess()
      const { attachment } = attached(process)
      const first = attachment.connect()
      await expect.poll(() => attachment.state).toBe('open')
      attachment.write(bytes('ab'))
      await expect.poll(() => process.input).toBe('ab')
      process.takes = taken
      attachment.write(bytes('cd'))
      attachment.write(bytes('efgh'))
      process.cut()
      await first
      process.takes = Number.POSITIVE_INFINITY
      attachment.write(bytes('ij'))
      const second = attachment.connect()
      await expect.poll(() => `${taken}: ${process.input}`).toBe(`${taken}: abcdefghij`)
      attachment.write(bytes('!'))
      await expect.poll(() => process.input).toBe('abcdefghij!')
      attachment.leave()
      await second
    }
  })

  test('of an attachment that knows nothing goes behind what the process has', async () => {
    const process = new ScriptedProcess()
    process.type('before')
    const { attachment } = attached(process, { stdinEnd: null })
    attachment.write(bytes('-after'))
    const open = attachment.connect()
    await expect.poll(() => process.input).toBe('before-after')
    attachment.leave()
    await open
  })

  test('is not kept once the process has taken it', async () => {
    const process = new ScriptedProcess()
    const { attachment } = attached(process)
    const open = attachment.connect()
    await expect.poll(() => attachment.state).toBe('open')
    const piece = new Uint8Array(262_144).fill(0x61)
    // In all more than is kept for one that takes nothing.
    for (let sent = 0; sent < 2_097_152; sent += piece.length) {
      attachment.write(piece)
      await expect.poll(() => process.record.stdin_end).toBe(sent + piece.length)
    }
    attachment.leave()
    await open
  })

  test('that went up a connection which died in silence goes up another one, once', async () => {
    const process = new ScriptedProcess()
    const { attachment, clock } = attached(process)
    const first = attachment.connect()
    await expect.poll(() => attachment.state).toBe('open')
    await expect.poll(() => clock.pending).toBeGreaterThan(0)
    process.takes = 1
    attachment.write(bytes('abc'))
    await expect.poll(() => process.input).toBe('a')
    await clock.advance(2_000)
    expect(await first).toMatchObject({ kind: 'cut', error: { code: 'runner_disconnected' } })
    process.takes = Number.POSITIVE_INFINITY
    const second = attachment.connect()
    await expect.poll(() => process.input).toBe('abc')
    attachment.leave()
    await second
    expect(clock.pending).toBe(0)
  })

  test('that finds the sandbox asleep ends the connection with that', async () => {
    const process = new ScriptedProcess()
    const { attachment, clock } = attached(process)
    const open = attachment.connect()
    await expect.poll(() => attachment.state).toBe('open')
    process.takes = 0
    attachment.write(bytes('abc'))
    process.refuse = new AppError('sandbox_hibernated', 'cannot: it sleeps')
    await clock.advance(2_000)
    expect(await open).toMatchObject({ kind: 'cut', error: { code: 'sandbox_hibernated' } })
  })

  test('beyond what may wait is refused', () => {
    const { attachment } = attached(new ScriptedProcess())
    attachment.write(new Uint8Array(1_048_576))
    expect(() => attachment.write(new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'overloaded' }))
  })

  test('that a closed process refuses is forgotten, and its output goes on', async () => {
    const process = new ScriptedProcess()
    const { attachment, seen } = attached(process)
    const first = attachment.connect()
    await expect.poll(() => attachment.state).toBe('open')
    process.takes = 0
    attachment.write(bytes('lost'))
    process.cut()
    await first
    process.inputIsClosed = true
    process.print('still here')
    const second = attachment.connect()
    await expect.poll(() => seen).toEqual(['0 still here'])
    process.end(0)
    expect(await second).toMatchObject({ kind: 'over' })
  })

  test('keeps its order with the sizes of the terminal', async () => {
    const process = new ScriptedProcess()
    const { attachment } = attached(process)
    expect(attachment.resize(10, 10)).toBe(false)
    const open = attachment.connect()
    await expect.poll(() => attachment.state).toBe('open')
    expect(attachment.resize(100, 40)).toBe(true)
    await expect.poll(() => process.sizes).toEqual([{ cols: 100, rows: 40 }])
    attachment.leave()
    await open
  })
})
