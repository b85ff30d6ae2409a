/** Tunnel sockets on a clock of the test, in a runner's real object. */

import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { FakeClock } from '@portico/shared/clock'
import { newRunnerId } from '@portico/shared/ids'
import { frameType } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { Sessions, silentMs } from '../src/tunnel/sessions.ts'

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
function helloOfRunner(): ArrayBuffer {
  const hello = new TextEncoder().encode('{"generation":1,"role":"runner","window":65536}')
  return new Uint8Array([frameType.hello, 0, 0, hello.length, 0, 0, 0, 0, ...hello]).buffer
}

/** The runner's end of an accepted socket. */
function opened(response: Response): WebSocket {
  const socket = response.webSocket as WebSocket
  socket.accept()
  return socket
}

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
