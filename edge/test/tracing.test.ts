/** Where no spans are exported a caller's trace goes to the runner as it came. What is exported is seen by `tests/e2e/telemetry.test.ts`. */

import type { EdgeCall } from '@portico/shared/control'
import { describe, expect, test } from 'vitest'
import { answer, ask } from './client.ts'
import { done, GuestScene, someProcess } from './guest-scene.ts'
import { guestAnswers } from './scripted-runner.ts'

const scene = new GuestScene()
const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

/** The last call of the edge's. */
function last(calls: readonly EdgeCall[]): EdgeCall | undefined {
  return calls.at(-1)
}

/** A call with a `traceparent`. */
function post(path: string, json: object, trace = traceparent): Promise<Response> {
  return ask(path, { key: scene.key, json, headers: { traceparent: trace } })
}

describe("a caller's trace", () => {
  test('goes with a create, a fork and a restore', async () => {
    const { calls } = await scene.start(undefined)
    expect((await post('/v1/runs', { image: 'python' })).status).toBe(201)
    expect(last(calls)).toMatchObject({ op: 'sandbox.create', trace: traceparent })
    expect((await post(scene.at('/fork'), { count: 2 })).status).toBe(201)
    expect(last(calls)).toMatchObject({ op: 'sandbox.fork', trace: traceparent })
    const { snapshot_id } = await answer(scene.at('/snapshot'), { key: scene.key, method: 'POST' })
    expect((await post('/v1/runs/restore', { snapshot_id })).status).toBe(201)
    expect(last(calls)).toMatchObject({ op: 'sandbox.restore', trace: traceparent })
  })

  test('goes with an exec, and with a command that is detached', async () => {
    const { calls } = await scene.start(({ path }, stream) =>
      guestAnswers(stream, 200, path === '/exec' ? done : someProcess),
    )
    expect((await post(scene.at('/exec'), { command: 'true' })).status).toBe(200)
    expect(last(calls)).toMatchObject({ path: '/exec', trace: traceparent })
    expect((await post(scene.at('/exec'), { command: 'true', detach: true })).status).toBe(201)
    expect(last(calls)).toMatchObject({ path: '/processes', trace: traceparent })
    expect((await post(scene.at('/processes'), { command: 'true' })).status).toBe(201)
    expect(last(calls)).toMatchObject({ path: '/processes', trace: traceparent })
  })

  test.each(['nonsense', traceparent.toUpperCase(), `${traceparent}-more`])(
    'that is malformed is ignored: %s',
    async (trace) => {
      const { calls } = await scene.start((_call, stream) => guestAnswers(stream, 200, done))
      expect((await post('/v1/runs', { image: 'python' }, trace)).status).toBe(201)
      expect(last(calls)).not.toHaveProperty('trace')
      expect((await post(scene.at('/exec'), { command: 'true' }, trace)).status).toBe(200)
      expect(last(calls)).not.toHaveProperty('trace')
    },
  )
})
