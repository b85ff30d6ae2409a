/** Clients of iii that go away and come back, objects that lose their memory, and what becomes of what was under way. */

import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { answer as accept, refuse, type TunnelStream } from '@portico/shared/tunnel'
import { afterEach, describe, expect, test } from 'vitest'
import { objectName } from '../src/iii/join.ts'
import { keptMs } from '../src/store/iii.ts'
import { done } from './guest-scene.ts'
import { envelopeOf, IiiClient, type Told } from './iii-client.ts'
import { RunnerScene } from './runner-scene.ts'
import { guestAnswers } from './scripted-runner.ts'

const scene = new RunnerScene()
afterEach(() => IiiClient.closeAll())

const client = () => IiiClient.connect(scene.tenant.key)
const object = () => env.III.get(env.III.idFromName(objectName({ account: scene.tenant.account, region: 'local' })))

/** A client that comes back with the papers of one that was. */
async function back(former: IiiClient, change: object = {}): Promise<IiiClient> {
  const { worker_id, reattach_token } = await former.identity()
  const iii = await client()
  iii.send({ type: 'reattach', previous_worker_id: worker_id, reattach_token, ...change })
  return iii
}

/** A sandbox whose commands wait for the test. */
async function held() {
  const streams: TunnelStream[] = []
  const runner = await scene.connected({ 'guest.request': (_call, stream) => void streams.push(stream) })
  const iii = await client()
  const { sandbox_id } = await iii.result<{ sandbox_id: string }>('sandbox::create', { image: 'python' })
  const begin = async () => {
    const count = streams.length
    const id = iii.begin('sandbox::exec', { sandbox_id, cmd: 'x' })
    await expect.poll(() => streams.length).toBe(count + 1)
    return id
  }
  const end = (at = -1) => guestAnswers(streams.at(at) as TunnelStream, 200, done)
  return { runner, iii, sandbox_id, streams, begin, end }
}

const answers = ({ frames }: IiiClient): Told[] => frames.filter(({ type }) => type === 'invocationresult')

describe('a client that comes back', () => {
  test('gets the answer to what was under way when it went', async () => {
    const { iii, begin, end } = await held()
    const id = await begin()
    iii.close()
    await iii.closed
    const again = await back(iii)
    await again.result('sandbox::list', {})
    end()
    expect((await again.answerTo(id)).result).toMatchObject({ success: true })
  })

  test('gets the answer that came while it was away', async () => {
    const { iii, begin, end } = await held()
    const id = await begin()
    iii.close()
    await iii.closed
    end()
    await expect.poll(() => kept()).toContain(id)
    expect((await (await back(iii)).answerTo(id)).result).toMatchObject({ success: true })
  })

  test('gets an answer that was sent into a connection that had died', async () => {
    const { iii, begin, end } = await held()
    const id = await begin()
    end()
    await iii.answerTo(id)
    const again = await back(iii)
    expect((await again.answerTo(id)).result).toMatchObject({ success: true })
    expect(await iii.closed).toMatchObject({ code: 1000, reason: 'its client is back' })
  })

  test('with the wrong token gets nothing', async () => {
    const { iii, begin, end } = await held()
    const id = await begin()
    end()
    await iii.answerTo(id)
    const again = await back(iii, { reattach_token: 'a'.repeat(52) })
    await again.result('sandbox::list', {})
    expect(answers(again)).toHaveLength(1)
    expect((await (await back(iii)).answerTo(id)).result).toMatchObject({ success: true })
  })

  test('after a quarter of an hour finds nothing more', async () => {
    const { iii, begin, end } = await held()
    const id = await begin()
    end()
    await iii.answerTo(id)
    iii.close()
    await iii.closed
    await runInDurableObject(object(), (_object, { storage }) => {
      storage.sql.exec('UPDATE iii_invocations SET ended_at = ended_at - ?', keptMs)
      storage.sql.exec('UPDATE iii_workers SET away_at = away_at - ?', keptMs)
    })
    await runDurableObjectAlarm(object())
    expect(await kept()).toEqual([])
    const again = await back(iii)
    await again.result('sandbox::list', {})
    expect(answers(again)).toHaveLength(1)
  })
})

test('an invocation that is sent twice is done once, and answered', async () => {
  const { runner, iii, sandbox_id, begin, end } = await held()
  const id = await begin()
  const again = {
    type: 'invokefunction',
    invocation_id: id,
    function_id: 'sandbox::exec',
    data: { sandbox_id, cmd: 'x' },
  }
  iii.send(again)
  await iii.result('sandbox::list', {})
  end()
  await iii.answerTo(id)
  iii.send(again)
  await expect.poll(() => answers(iii).filter(({ invocation_id }) => invocation_id === id).length).toBe(2)
  expect(runner.count('guest.request')).toBe(1)
})

test('one without an id is done and not answered, as is one whose action is void', async () => {
  const runner = await scene.connected()
  const iii = await client()
  const create = { function_id: 'sandbox::create', data: { image: 'python' } }
  iii.send({ type: 'invokefunction', ...create })
  iii.send({ type: 'invokefunction', invocation_id: 'mine', ...create, action: { type: 'void' } })
  await expect.poll(() => runner.count('sandbox.create')).toBe(2)
  await expect
    .poll(async () => (await iii.result<{ sandboxes: object[] }>('sandbox::list', {})).sandboxes.length)
    .toBe(2)
  expect(answers(iii).every(({ result }) => 'sandboxes' in (result as object))).toBe(true)
})

test('fifty at once are all answered', async () => {
  const iii = await client()
  const all = await Promise.all(Array.from({ length: 50 }, () => iii.call('sandbox::list', {})))
  expect(all.map(({ error }) => error)).toEqual(Array.from({ length: 50 }))
})

test('a frame that is too long ends the connection', async () => {
  const iii = await client()
  iii.send('x'.repeat(16_777_217))
  expect(await iii.closed).toMatchObject({ code: 1009 })
})

describe('an object that loses its memory', () => {
  test('while nothing is under way goes on with its sockets', async () => {
    await scene.connected()
    const iii = await client()
    await iii.identity()
    await evictDurableObject(object())
    expect(await iii.result('sandbox::list', {})).toEqual({ sandboxes: [] })
  })

  test('in the middle of a command answers it with an error, and lets the next one in', async () => {
    const { iii, sandbox_id, begin, end, streams } = await held()
    const id = await begin()
    await interrupt()
    const again = await back(iii)
    expect(envelopeOf(await again.answerTo(id))).toMatchObject({
      code: 'S300',
      message: expect.stringContaining('may or may not'),
    })
    const next = again.begin('sandbox::exec', { sandbox_id, cmd: 'y' })
    await expect.poll(() => streams.length).toBe(2)
    end()
    expect((await again.answerTo(next)).result).toMatchObject({ success: true })
  })

  test('in the middle of a command wakes by itself to answer it', async () => {
    const { begin } = await held()
    const id = await begin()
    await interrupt()
    expect(await runDurableObjectAlarm(object())).toBe(true)
    expect(await kept()).toContain(id)
  })

  test('in the middle of a create answers with the sandbox that came of it', async () => {
    const going = Promise.withResolvers<void>()
    const runner = await scene.connected({
      'sandbox.create': async (_call, stream) => {
        await going.promise
        accept(stream, { resolved_image: 'python', create_ms: 7 })
        stream.end()
      },
    })
    const iii = await client()
    const id = iii.begin('sandbox::create', { image: 'python' })
    await runner.next('sandbox.create')
    await interrupt()
    const again = await back(iii)
    going.resolve()
    const { result } = await again.answerTo(id)
    expect(result).toMatchObject({ image: 'python' })
    const { sandboxes } = await again.result<{ sandboxes: object[] }>('sandbox::list', {})
    expect(sandboxes).toMatchObject([{ sandbox_id: (result as { sandbox_id: string }).sandbox_id }])
  })

  test('in the middle of a create that comes to nothing answers with why', async () => {
    const going = Promise.withResolvers<void>()
    const runner = await scene.connected({
      'sandbox.create': async (_call, stream) => {
        await going.promise
        refuse(stream, { code: 'boot_failed', message: 'cannot boot: the kernel did not start' })
      },
    })
    const iii = await client()
    const id = iii.begin('sandbox::create', { image: 'python' })
    await runner.next('sandbox.create')
    await interrupt()
    const again = await back(iii)
    going.resolve()
    expect(envelopeOf(await again.answerTo(id))).toMatchObject({ code: 'S300' })
    expect(await again.result('sandbox::list', {})).toEqual({ sandboxes: [] })
  })
})

test('a create in which everything is interrupted is answered at once', async () => {
  const runner = await scene.connected({ 'sandbox.create': () => new Promise(() => undefined) })
  const iii = await client()
  const id = iii.begin('sandbox::create', { image: 'python' })
  await runner.next('sandbox.create')
  await abortAllDurableObjects()
  const again = await back(iii)
  expect(envelopeOf(await again.answerTo(id))).toMatchObject({ code: 'S300' })
  expect((await again.result<{ sandboxes: object[] }>('sandbox::list', {})).sandboxes).not.toMatchObject([
    { stopped: false },
  ])
})

/** Ends the object as a crash does: its sockets go with it. */
async function interrupt(): Promise<void> {
  await runInDurableObject(object(), (_object, state) => state.abort('interrupted')).catch(() => undefined)
}

/** Ids of the answers that are kept. */
function kept(): Promise<string[]> {
  return runInDurableObject(object(), (_object, { storage }) =>
    storage.sql
      .exec<{ id: string }>('SELECT id FROM iii_invocations WHERE ended_at IS NOT NULL')
      .toArray()
      .map(({ id }) => id),
  )
}
