/** Tunnel sockets on a clock of the test, in a runner's real object. */

import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { FakeClock } from '@portico/shared/clock'
import { newRunnerId } from '@portico/shared/ids'
import { frameType } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { type Dial, readDial } from '../src/tunnel/dial.ts'
import { Sessions, silentMs } from '../src/tunnel/sessions.ts'
import { newSession } from './scripted-runner.ts'

interface Scene {
  readonly sessions: Sessions
  readonly clock: FakeClock
  readonly gone: string[]
  readonly state: DurableObjectState
}

function withSessions(work: (scene: Scene) => unknown): Promise<unknown> {
  const stub = env.RUNNERS.get(env.RUNNERS.idFromName(newRunnerId()))
  return runInDurableObject(stub, async (_object, state) => {
    const clock = new FakeClock(Date.now())
    const gone: string[] = []
    const onGone = (id: string) => void gone.push(id)
    await work({ sessions: new Sessions({ ctx: state, clock, onStream: () => undefined, onGone }), clock, gone, state })
  })
}

/** A runner's HELLO as a message. */
function helloOfRunner(generation = 1): ArrayBuffer {
  const hello = new TextEncoder().encode(`{"generation":${generation},"role":"runner","window":65536}`)
  return new Uint8Array([frameType.hello, 0, 0, hello.length, 0, 0, 0, 0, ...hello]).buffer
}

/** A PING as a message. */
function ping(): ArrayBuffer {
  return new Uint8Array([frameType.ping, 0, 0, 8, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]).buffer
}

/** The runner's end of an accepted socket. */
function opened(response: Response): WebSocket {
  const socket = response.webSocket as WebSocket
  socket.accept()
  return socket
}

/** Dials, and says hello as a runner of that generation. */
function dialled({ sessions, state }: Scene, dial: Dial, generation = 2): { near: WebSocket; far: WebSocket } {
  const known = new Set(state.getWebSockets())
  const far = opened(sessions.accept(dial))
  const near = state.getWebSockets().find((socket) => !known.has(socket)) as WebSocket
  sessions.receive(near, helloOfRunner(generation))
  return { near, far }
}

const closeOf = (socket: WebSocket) =>
  new Promise<CloseEvent>((resolve) => socket.addEventListener('close', resolve, { once: true }))
const settled = () => new Promise<void>((resolve) => setTimeout(resolve))

describe('a session of several sockets', () => {
  test('opens streams on the first socket until it is crowded, then where the fewest are', () =>
    withSessions(async (scene) => {
      const session = newSession()
      for (const index of [0, 1, 2]) dialled(scene, { session, index })
      await settled()
      const used: object[] = []
      const open = (count: number) => {
        const counts = new Map<object, number>()
        for (let turn = 0; turn < count; turn++) {
          const current = scene.sessions.current()
          expect(current?.id).toBe(session)
          current?.muxer.open()
          if (current === undefined) continue
          if (!used.includes(current.muxer)) used.push(current.muxer)
          counts.set(current.muxer, (counts.get(current.muxer) ?? 0) + 1)
        }
        return used.map((muxer) => counts.get(muxer) ?? 0)
      }
      expect(open(64)).toEqual([64])
      expect(open(64)).toEqual([0, 64])
      expect(open(64)).toEqual([0, 0, 64])
      expect(open(9)).toEqual([3, 3, 3])
      expect(scene.sessions.state).toEqual({ generation: 2, sockets: 3 })
    }))

  test('uses another socket while the ping of the first is overdue', () =>
    withSessions(async (scene) => {
      const session = newSession()
      const first = dialled(scene, { session, index: 0 })
      const second = dialled(scene, { session, index: 1 })
      await settled()
      const before = scene.sessions.current()
      await scene.clock.advance(20_000)
      scene.sessions.receive(second.near, ping())
      expect(scene.sessions.current()).not.toBe(before)
      scene.sessions.receive(first.near, ping())
      expect(scene.sessions.current()).toBe(before)
    }))

  test('waits for no socket that has not said hello as long as another has', () =>
    withSessions(async (scene) => {
      const session = newSession()
      dialled(scene, { session, index: 0 })
      await settled()
      const ready = scene.sessions.current()
      ready?.muxer.open()
      opened(scene.sessions.accept({ session, index: 1 }))
      expect(scene.sessions.current()).toBe(ready)
    }))

  test('goes on with the others when one socket ends, and is gone with the last', () =>
    withSessions(async (scene) => {
      const { sessions, gone } = scene
      const session = newSession()
      const first = dialled(scene, { session, index: 0 })
      const second = dialled(scene, { session, index: 1 })
      await settled()
      const streams = Array.from({ length: 65 }, () => sessions.current()?.muxer.open())
      sessions.ended(first.near)
      const ends = await Promise.all(streams.map((stream) => Promise.race([stream?.done, settled()])))
      const codes = ends.map((end) => end?.code)
      expect([codes.indexOf(undefined), codes.indexOf('runner_disconnected')]).toEqual([64, 0])
      expect([sessions.current()?.id, sessions.state.sockets, gone]).toEqual([session, 1, []])
      sessions.ended(second.near)
      expect([sessions.current(), sessions.id, gone]).toEqual([undefined, undefined, [session]])
    }))

  test('has a socket replaced by one of the same place, and by that alone', () =>
    withSessions(async (scene) => {
      const session = newSession()
      const first = dialled(scene, { session, index: 0 })
      dialled(scene, { session, index: 1 })
      const closed = closeOf(first.far)
      dialled(scene, { session, index: 1 })
      dialled(scene, { session, index: 0 })
      expect((await closed).code).toBe(4001)
      expect(scene.sessions.state.sockets).toBe(2)
      expect(scene.gone).toEqual([])
    }))

  test('is replaced as a whole by another session, whose first socket is enough', () =>
    withSessions(async (scene) => {
      const former = newSession()
      const ends = [0, 1].map((index) => closeOf(dialled(scene, { session: former, index }).far))
      const session = newSession()
      dialled(scene, { session, index: 0 })
      expect((await Promise.all(ends)).map(({ code }) => code)).toEqual([4001, 4001])
      expect([scene.sessions.id, scene.sessions.state.sockets, scene.gone]).toEqual([session, 1, []])
    }))

  test('drops a socket that fell silent and keeps the one that is heard', () =>
    withSessions(async (scene) => {
      const session = newSession()
      const silent = dialled(scene, { session, index: 0 })
      const heard = dialled(scene, { session, index: 1 })
      const closed = closeOf(silent.far)
      await scene.clock.advance(silentMs)
      scene.sessions.receive(heard.near, ping())
      await scene.clock.advance(1)
      expect(scene.sessions.current()?.id).toBe(session)
      expect((await closed).code).toBe(1011)
      expect([scene.sessions.state.sockets, scene.gone]).toEqual([1, []])
    }))

  test('is taken up with all its sockets by a memory that knows nothing, and told gone if it has none', () =>
    withSessions(async (scene) => {
      const session = newSession()
      for (const index of [0, 1]) dialled(scene, { session, index })
      await settled()
      const gone: string[] = []
      const onGone = (id: string) => void gone.push(id)
      const later = () => new Sessions({ ctx: scene.state, clock: scene.clock, onStream: () => undefined, onGone })
      expect(later().state).toEqual({ generation: 2, sockets: 2 })
      for (const socket of scene.state.getWebSockets()) socket.serializeAttachment(null)
      expect(later().current()).toBeUndefined()
      expect(gone).toEqual([session])
      expect(later().current()).toBeUndefined()
      expect(gone).toEqual([session])
    }))

  test('that a memory takes up after a long sleep has time to be heard, and is gone if it is not', () =>
    withSessions(async (scene) => {
      const session = newSession()
      dialled(scene, { session, index: 0 })
      await settled()
      await scene.clock.advance(10 * silentMs)
      const { state, clock } = scene
      const later = new Sessions({ ctx: state, clock, onStream: () => undefined, onGone: () => undefined })
      expect(later.current()?.id).toBe(session)
      await clock.advance(silentMs)
      expect(later.current()).toBeUndefined()
    }))

  test('of generation 1 is one socket, which replaces the one before it', () =>
    withSessions(async (scene) => {
      const first = dialled(scene, { session: null, index: 0 }, 1)
      const closed = closeOf(first.far)
      dialled(scene, { session: null, index: 0 }, 1)
      expect((await closed).code).toBe(4001)
      await settled()
      expect(scene.sessions.state).toEqual({ generation: 1, sockets: 1 })
    }))
})

test('what a runner says of its socket is read strictly', () => {
  const session = newSession()
  const read = (headers: Record<string, string>) => readDial(new Headers(headers))
  expect(read({})).toEqual({ session: null, index: 0 })
  expect(read({ 'portico-session': session, 'portico-socket': '1/2' })).toEqual({ session, index: 1 })
  expect(read({ 'portico-session': session, 'portico-socket': '7/8' })).toEqual({ session, index: 7 })
  for (const socket of ['', '2/2', '0/0', '0/9', '-1/2', '1', '01/2', '0/2/3'])
    expect(() => read({ 'portico-session': session, 'portico-socket': socket })).toThrow('Portico-Socket')
  expect(() => read({ 'portico-session': 'UPPER', 'portico-socket': '0/1' })).toThrow('Portico-Session')
})

describe('the session in force', () => {
  test('is the newest, and the one before it is closed and gone', () =>
    withSessions(async ({ sessions, gone }) => {
      expect(sessions.current()).toBeUndefined()
      const first = opened(sessions.accept())
      const one = sessions.current()
      const closed = new Promise<CloseEvent>((resolve) => first.addEventListener('close', resolve))
      opened(sessions.accept())
      const two = sessions.current()
      expect(two?.id).not.toBe(one?.id)
      expect((await closed).code).toBe(4001)
      expect(await one?.muxer.closed).toMatchObject({ code: 'runner_disconnected' })
      expect(gone).toEqual([])
      expect(sessions.current()?.id).toBe(two?.id)
    }))

  test('is gone once nothing was heard of it for longer than two pings and their limit', () =>
    withSessions(async ({ sessions, clock, gone, state }) => {
      const socket = opened(sessions.accept())
      const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener('close', resolve))
      const session = sessions.current()
      const [server] = state.getWebSockets()
      sessions.receive(server as WebSocket, helloOfRunner())
      await clock.advance(silentMs)
      expect(sessions.current()).toBe(session)
      await clock.advance(1)
      expect(session?.isAlive()).toBe(false)
      expect(gone).toEqual([])
      expect(sessions.current()).toBeUndefined()
      expect((await closed).code).toBe(1011)
      await clock.advance(0)
      expect(gone).toEqual([session?.id])
    }))

  test('without a hello within ten seconds is closed', () =>
    withSessions(async ({ sessions, clock }) => {
      const socket = opened(sessions.accept())
      const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener('close', resolve))
      await clock.advance(10_000)
      expect((await closed).code).toBe(1011)
      expect(sessions.current()).toBeUndefined()
    }))

  test('is found again by a memory that knows nothing, unless its attachment is not ours', () =>
    withSessions(async ({ sessions, clock, state }) => {
      opened(sessions.accept())
      const id = sessions.current()?.id
      const peer = { generation: 1, role: 'runner', window: 65_536 }
      const [server] = state.getWebSockets()
      server?.serializeAttachment({ ...(server.deserializeAttachment() as object), peer })
      const later = () => new Sessions({ ctx: state, clock, onStream: () => undefined, onGone: () => undefined })
      expect(later().current()?.id).toBe(id)
      for (const strange of [
        null,
        'text',
        { portico: 2 },
        { portico: 1, session: 3 },
        { portico: 1, session: 'other', acceptedAt: 0, firstId: 1, peer },
      ]) {
        server?.serializeAttachment(strange)
        expect(later().current()).toBeUndefined()
      }
    }))
})
