/** What waits in a channel is bounded, whoever does not read. */

import { FakeClock } from '@portico/shared/clock'
import { describe, expect, test } from 'vitest'
import { Channel, type ChannelState, mostWaiting, unjoinedMs } from './channel.ts'
import type { Frame, WaitingFrames } from './waiting-frames.ts'
import type { End } from './wire.ts'

/** A channel without a platform around it. */
function made(change: Partial<ChannelState> = {}, woke = false) {
  const clock = new FakeClock(1_000_000)
  const ends = { writer: 'joined', reader: 'absent', source: null, broken: null } as const
  const state: ChannelState = { account: 'a', region: 'local', createdAt: clock.now(), ...ends, ...change }
  const frames: Frame[] = []
  const waiting = {
    get bytes() {
      return frames.reduce((sum, frame) => sum + frame.length, 0)
    },
    add: (frame: Frame) => void frames.push(frame),
    shift: () => frames.shift(),
  } as unknown as WaitingFrames
  const closed: Partial<Record<End, string>> = {}
  const sent: Frame[] = []
  const world = { clock, closed, sent, alarm: 0, forgotten: false }
  const channel = new Channel({
    state,
    put: () => undefined,
    waiting,
    socket: (end) => ({
      send: (frame) => void sent.push(frame),
      close: (code, reason) => {
        closed[end] = `${code} ${reason}`
      },
    }),
    setAlarm: (at) => {
      world.alarm = at
    },
    forget: () => {
      world.forgotten = true
    },
    read: () => Promise.reject(new Error('no file')),
    clock,
    background: () => undefined,
    woke,
  })
  return { channel, world }
}

const quarter = new Uint8Array(mostWaiting / 4)

describe('a channel', () => {
  test.each(['absent', 'taken'] as const)('holds 64 MiB and no more while its reader is %s', (reader) => {
    const { channel, world } = made({ reader })
    for (let times = 0; times < 4; times++) channel.message('write', quarter)
    expect(world.closed).toEqual({})
    channel.message('write', new Uint8Array(1))
    expect(world.closed.write).toBe('1011 S218: more than 64 MiB wait for the reader')
    expect(channel.state.broken).toBe('more than 64 MiB wait for the reader')
  })

  test('holds nothing while its reader reads', () => {
    const { channel, world } = made({ reader: 'joined' })
    for (let times = 0; times < 8; times++) channel.message('write', quarter.subarray(0, 100_000))
    expect(world.closed).toEqual({})
    expect(world.sent.every((frame) => frame.length <= 65_536)).toBe(true)
  })

  test('passes on 256 MiB and no more', () => {
    const { channel, world } = made({ reader: 'joined' })
    for (let times = 0; times < 16; times++) channel.message('write', quarter)
    expect(world.closed).toEqual({})
    channel.message('write', new Uint8Array(1))
    expect(world.closed.read).toMatch(/^1011 S219: more than 256 MiB .*\/v1\/runs/)
    expect(String(world.sent.at(-1))).toContain('S219')
  })

  test('takes no text message of more than 1 MiB', () => {
    const { channel, world } = made({ reader: 'joined' })
    channel.message('write', 'x'.repeat(1_048_577))
    expect(world.closed.write).toMatch(/^1011 S218/)
  })

  test.each([
    ['a function takes it', { reader: 'taken' }],
    ['a file is read into it', { reader: 'joined', source: { sandbox: 'run', path: '/x' } }],
    ['its reader is here', { writer: 'absent', reader: 'joined' }],
    ['its writer is here', { writer: 'joined' }],
  ] as const)('is broken when its object wakes anew while %s', (_name, state) => {
    expect(made(state, true).channel.state.broken).toBe('the platform interrupted it')
    expect(made(state, false).channel.state.broken).toBeNull()
  })

  test.each(['done', 'absent'] as const)(
    'goes on when its object wakes anew, nobody reads yet and the writer is %s',
    (writer) => {
      expect(made({ writer }, true).channel.state.broken).toBeNull()
    },
  )

  test('is looked at soon while a function takes it, and when an end is missing', () => {
    const { world } = made()
    expect(world.alarm).toBe(world.clock.now() + unjoinedMs)
    const taken = made({ reader: 'taken' }).world
    expect(taken.alarm).toBe(taken.clock.now() + 30_000)
  })

  test('is forgotten a minute after it broke', async () => {
    const { channel, world } = made({ reader: 'joined' })
    channel.left('write', 1006)
    expect(world.alarm).toBe(world.clock.now() + 60_000)
    channel.tick()
    expect(world.forgotten).toBe(true)
  })

  test('ends after a day', async () => {
    const { channel, world } = made({ reader: 'joined' })
    await world.clock.advance(86_400_000)
    channel.tick()
    expect(world.closed.read).toBe('1011 S218: it is older than a day')
  })
})
