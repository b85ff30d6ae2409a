/** Shell sessions on a WebSocket: commands once each, their outputs between their marks, and what is there after a cut. */

import { evictDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { AppError } from '@portico/shared/errors'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { RunnerScene } from './runner-scene.ts'
import { ScriptedGuest } from './scripted-guest.ts'
import type { ScriptedRunner } from './scripted-runner.ts'
import { type Event, View } from './viewing.ts'

const scene = new RunnerScene()
let guest: ScriptedGuest
let runner: ScriptedRunner
let run: string

beforeEach(async () => {
  guest = new ScriptedGuest()
  runner = await scene.connected({ 'guest.request': guest.serve })
  run = (await scene.created()).id
})
afterEach(() => {
  for (const process of guest.processes.values()) process.end(0)
})

const open = (path = '/shell') => View.open(`/v1/runs/${run}${path}`, scene.tenant.key)
const stub = (id: unknown) => env.CONSOLES.get(env.CONSOLES.idFromName(String(id)))
/** Frames without what the offsets say. */
const plain = (events: readonly Event[]) => events.map(({ offset: _offset, ...event }) => event)

/** Has the shell answer each command with its own text. */
function echoing(): void {
  guest.process.onRun = (id, command) => {
    guest.process.mark({ run: id, state: 'started' })
    guest.process.print(`${command}!`)
    guest.process.mark({ run: id, state: 'ended', exit_code: command.length, duration_ms: 1.5 })
  }
}

async function back(): Promise<void> {
  const again = await scene.back({ 'guest.request': guest.serve })
  await again.report({ sandboxes: [{ sandbox: run, generation: 1, state: 'running' }] as never })
}

describe('a shell', () => {
  test('runs commands in their order and tells of each what it printed and how it ended', async () => {
    const view = await open('/shell?cwd=/app&user=dev')
    const { id } = await view.event('session')
    expect(guest.started[0]).toMatchObject({ path: '/shells', asked: { cwd: '/app', user: 'dev' } })
    echoing()
    view.say({ type: 'run', id: 'a', command: 'ls' })
    view.say({ type: 'run', id: 'b', command: 'pwd' })
    await expect.poll(() => view.of('exit').length).toBe(2)
    expect(plain(view.events)).toEqual([
      { type: 'session', id },
      { type: 'stdout', id: 'a', data: 'ls!' },
      { type: 'exit', id: 'a', exit_code: 2, duration_ms: 1.5 },
      { type: 'stdout', id: 'b', data: 'pwd!' },
      { type: 'exit', id: 'b', exit_code: 3, duration_ms: 1.5 },
    ])
  })

  test('passes signals and input to what runs, and closes', async () => {
    const view = await open()
    view.say({ type: 'stdin', data: 'grüße\n' })
    view.say({ type: 'signal', signal: 'SIGINT' })
    await expect.poll(() => guest.process.input).toBe('grüße\n')
    await expect.poll(() => guest.process.signals).toEqual(['SIGINT'])
    view.say({ type: 'close' })
    expect(await view.event('closed')).toMatchObject({ exit_code: 137 })
    await expect.poll(() => view.closed?.code).toBe(1000)
  })

  test('does not run a command again whose id it knows, and tells its exit again', async () => {
    const view = await open()
    await view.event('session')
    echoing()
    view.say({ type: 'run', id: 'a', command: 'ls' })
    await view.event('exit')
    view.say({ type: 'run', id: 'a', command: 'ls' })
    await expect.poll(() => view.of('exit').length).toBe(2)
    expect(guest.process.runs).toHaveLength(1)
  })

  test('is found again by its session, with the rest of what the command prints', async () => {
    const view = await open()
    const { id } = await view.event('session')
    guest.process.mark({ run: 'a', state: 'started' })
    guest.process.print('before ')
    await view.event('stdout')
    view.leave()
    await expect.poll(() => view.closed).toBeDefined()
    guest.process.print('after')
    guest.process.mark({ run: 'a', state: 'ended', exit_code: 0, duration_ms: 9 })
    const again = await open(`/sessions/${id}`)
    await again.event('exit')
    expect(plain(again.events)).toEqual([
      { type: 'session', id },
      { type: 'stdout', id: 'a', data: 'after' },
      { type: 'exit', id: 'a', exit_code: 0, duration_ms: 9 },
    ])
  })

  test('knows after an eviction what ran before', async () => {
    const view = await open()
    const { id } = await view.event('session')
    echoing()
    view.say({ type: 'run', id: 'a', command: 'ls' })
    await view.event('exit')
    guest.process.mark({ run: 'b', state: 'started' })
    guest.process.print('half ')
    await expect.poll(() => view.of('stdout').length).toBe(2)
    runner.cut()
    await view.event('link')
    await evictDurableObject(stub(id))
    guest.process.print('whole')
    guest.process.mark({ run: 'b', state: 'ended', exit_code: 1, duration_ms: 2 })
    await back()
    view.say({ type: 'run', id: 'a', command: 'ls' })
    await expect.poll(() => view.of('exit').map((event) => event.id)).toEqual(expect.arrayContaining(['a', 'a', 'b']))
    expect(view.of('stdout').map((event) => [event.id, event.data])).toEqual([
      ['a', 'ls!'],
      ['b', 'half '],
      ['b', 'whole'],
    ])
    expect(guest.process.runs).toHaveLength(1)
  })
})

describe('a command whose call broke', () => {
  test('is not given again if the shell had taken it', async () => {
    const view = await open()
    await view.event('session')
    echoing()
    const { process } = guest
    const answer = process.onRun
    let broken = 0
    process.onRun = (id, command) => {
      answer(id, command)
      if (broken++ === 0) throw new AppError('overloaded', 'cannot answer')
    }
    view.say({ type: 'run', id: 'a', command: 'ls' })
    await view.event('exit')
    view.say({ type: 'run', id: 'b', command: 'pwd' })
    await expect.poll(() => view.of('exit').length).toBe(2)
    expect(process.runs.map(({ run: id }) => id)).toEqual(['a', 'b'])
    expect(view.of('error')).toEqual([])
  })

  test('is given again if the shell had not taken it', async () => {
    const view = await open()
    await view.event('session')
    echoing()
    runner.cut()
    view.say({ type: 'run', id: 'a', command: 'ls' })
    await back()
    expect(await view.event('exit')).toMatchObject({ id: 'a', exit_code: 2 })
    expect(guest.process.runs).toEqual([{ run: 'a', command: 'ls' }])
  })

  test('is told if the shell refuses it', async () => {
    const view = await open()
    await view.event('session')
    guest.process.onRun = () => {
      throw new AppError('conflict', 'cannot run the command: the shell has ended')
    }
    view.say({ type: 'run', id: 'a', command: 'ls' })
    expect(await view.event('error')).toMatchObject({ id: 'a', code: 'conflict' })
  })
})
