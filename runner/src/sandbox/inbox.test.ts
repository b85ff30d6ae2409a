import { expect, it } from 'vitest'
import { Inbox } from './inbox.ts'

it('hands out events before requests, each in order', async () => {
  const inbox = new Inbox<string, string>()
  inbox.request('destroy')
  inbox.event('broken')
  inbox.request('update')
  inbox.event('late')
  const taken = [await inbox.next(), await inbox.next(), await inbox.next(), await inbox.next()]
  expect(taken).toEqual([{ event: 'broken' }, { event: 'late' }, { request: 'destroy' }, { request: 'update' }])
})

it('wakes its reader', async () => {
  const inbox = new Inbox<string, string>()
  const next = inbox.next()
  inbox.event('x')
  expect(await next).toEqual({ event: 'x' })
})

it('gives up what waits', () => {
  const inbox = new Inbox<string, string>()
  inbox.event('a')
  inbox.request('b')
  expect([inbox.takeEvents(), inbox.takeRequests(), inbox.takeEvents(), inbox.takeRequests()]).toEqual([
    ['a'],
    ['b'],
    [],
    [],
  ])
})

it('lets later requests pass one that is not due, until an event makes it so', async () => {
  const inbox = new Inbox<string, string>()
  let busy = true
  const isDue = (asked: string) => asked === 'destroy' || !busy
  inbox.request('fork')
  inbox.request('destroy')
  expect(await inbox.next(isDue)).toEqual({ request: 'destroy' })
  const next = inbox.next(isDue)
  inbox.event('over')
  expect(await next).toEqual({ event: 'over' })
  busy = false
  expect(await inbox.next(isDue)).toEqual({ request: 'fork' })
})
