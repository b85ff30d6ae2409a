import { duplexPair } from 'node:stream'
import { FakeClock } from '@portico/shared/clock'
import type { IdentityRequest } from '@portico/shared/guest'
import { expect, it } from 'vitest'
import { FakeGuest, type GuestBehaviour } from '../vm/fake/guest.ts'
import { askHealth, giveIdentity, hostnameOf } from './agent.ts'
import { GuestChannel } from './channel.ts'

const signal = new AbortController().signal
const sandbox = 'runabcdefghijklmnopqrstuvwxyz'
const identity = { sandbox, env: { A: 'b' } }

async function open(behaviour: GuestBehaviour = {}) {
  const [ours, theirs] = duplexPair()
  const guest = new FakeGuest(behaviour, () => undefined)
  guest.attach(theirs)
  return { guest, channel: await GuestChannel.open(ours, { signal, again: false }) }
}

it('tells the guest who it is: a short host name, the time, fresh randomness, the environment', async () => {
  const { guest, channel } = await open()
  await giveIdentity(channel, identity, new FakeClock(1000), signal)
  expect(guest.identity).toMatchObject({
    sandbox_id: sandbox,
    hostname: 'runabcdefgh',
    clock_unix_ms: 1000,
    env: { A: 'b' },
  })
  expect(Buffer.from(guest.identity?.entropy ?? '', 'base64')).toHaveLength(64)
})

it('never gives two guests the same randomness', async () => {
  const first = await open()
  const second = await open()
  for (const { channel } of [first, second]) await giveIdentity(channel, identity, new FakeClock(), signal)
  expect(first.guest.identity?.entropy).not.toBe(second.guest.identity?.entropy)
})

const unconfirmed: [string, (asked: IdentityRequest) => object][] = [
  ['another host name', () => ({ hostname: 'other' })],
  ['too little randomness', () => ({ entropy_bytes: 63 })],
  ['a clock more than a second slow', ({ clock_unix_ms }) => ({ clock_unix_ms: clock_unix_ms - 1001 })],
  ['a clock more than a second fast', ({ clock_unix_ms }) => ({ clock_unix_ms: clock_unix_ms + 1001 })],
  ['no clock', () => ({ clock_unix_ms: 'now' })],
]

it.each(unconfirmed)('fails closed where the guest confirms %s', async (_what, confirm) => {
  const { channel } = await open({ confirm })
  await expect(giveIdentity(channel, identity, new FakeClock(1_000_000), signal)).rejects.toMatchObject({
    code: 'guest_error',
  })
})

it('takes a clock that is a second off', async () => {
  const { channel } = await open({ confirm: ({ clock_unix_ms }) => ({ clock_unix_ms: clock_unix_ms + 1000 }) })
  await giveIdentity(channel, identity, new FakeClock(1_000_000), signal)
})

it.each([
  ['an error', 'HTTP/1.1 500 X\r\ncontent-length: 2\r\n\r\n{}'],
  ['no JSON', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'],
  ['an answer that is too long', `HTTP/1.1 200 OK\r\n\r\n${' '.repeat(70_000)}`],
])('does not take %s for health', async (_what, bytes) => {
  const { channel } = await open({ raw: () => Buffer.from(bytes) })
  await expect(askHealth(channel, signal)).rejects.toMatchObject({ code: 'guest_error' })
})

it('shows less than the whole id as host name', () => {
  expect(hostnameOf(sandbox).length).toBeLessThan(sandbox.length)
})
