import { FakeClock } from '@portico/shared/clock'
import { expect, test } from 'vitest'
import type { AuditNote, Caller, Objects } from '../ports.ts'
import { AuditMail, gatherMs } from './mail.ts'

const mine: Caller = { account: 'a', region: 'local' }
const note = (event: string): AuditNote => ({ event, at: 0, data: {} })

function scene() {
  const clock = new FakeClock()
  const sent: { sandbox: string; caller: Caller; events: string[] }[] = []
  const objects = {
    sandbox: (sandbox: string) => ({
      note: async (caller: Caller, notes: readonly AuditNote[]) => {
        sent.push({ sandbox, caller, events: notes.map(({ event }) => event) })
        return { ok: true, value: undefined }
      },
    }),
  } as unknown as Objects
  return { clock, sent, objects, mail: new AuditMail(clock) }
}

test('notes of one moment leave in one call, in their order', async () => {
  const { clock, sent, objects, mail } = scene()
  const first = mail.post(objects, mine, 's', [note('1'), note('2')])
  await mail.post(objects, mine, 's', [note('3')])
  expect(sent).toEqual([])
  await clock.advance(gatherMs)
  await first
  expect(sent).toEqual([{ sandbox: 's', caller: mine, events: ['1', '2', '3'] }])
  const second = mail.post(objects, mine, 's', [note('4')])
  await clock.advance(gatherMs)
  await second
  expect(sent.map(({ events }) => events)).toEqual([['1', '2', '3'], ['4']])
})

test('notes of other sandboxes and of other callers stay apart', async () => {
  const { clock, sent, objects, mail } = scene()
  const other = { ...mine, account: 'b' }
  const posted = [
    mail.post(objects, mine, 's', [note('1')]),
    mail.post(objects, other, 's', [note('2')]),
    mail.post(objects, mine, 't', [note('3')]),
  ]
  await clock.advance(gatherMs)
  await Promise.all(posted)
  expect(sent).toHaveLength(3)
  expect(sent[1]).toEqual({ sandbox: 's', caller: other, events: ['2'] })
})

test('who reads the log does not wait for the moment to pass, and nothing is sent twice', async () => {
  const { clock, sent, objects, mail } = scene()
  const posted = mail.post(objects, mine, 's', [note('1')])
  await mail.send(objects, mine, 's')
  await clock.advance(gatherMs)
  await posted
  expect(sent).toHaveLength(1)
})

test('a large batch does not wait', async () => {
  const { sent, objects, mail } = scene()
  void mail.post(objects, mine, 's', [note('first')])
  for (let count = 0; count < 255; count++) await mail.post(objects, mine, 's', [note('more')])
  expect(sent[0]?.events).toHaveLength(256)
})

test('a batch waits for the one before it, however long that takes, but not for ever', async () => {
  const { clock, sent, objects, mail } = scene()
  const arrived = Promise.withResolvers<void>()
  const slow = {
    sandbox: () => ({
      note: async (caller: Caller, notes: readonly AuditNote[]) => {
        await arrived.promise
        return objects.sandbox('s').note(caller, notes)
      },
    }),
  } as unknown as Objects
  const first = mail.post(slow, mine, 's', [note('1')])
  await clock.advance(gatherMs)
  const second = mail.post(objects, mine, 's', [note('2')])
  await clock.advance(gatherMs + 1000)
  expect(sent).toEqual([])
  arrived.resolve()
  await first
  await clock.advance(1000)
  await second
  expect(sent.map(({ events }) => events)).toEqual([['1'], ['2']])

  const stuck = { sandbox: () => ({ note: () => new Promise(() => undefined) }) } as unknown as Objects
  void mail.post(stuck, mine, 's', [note('3')])
  await clock.advance(gatherMs)
  const last = mail.post(objects, mine, 's', [note('4')])
  await clock.advance(60_000)
  await last
  expect(sent.at(-1)?.events).toEqual(['4'])
})
