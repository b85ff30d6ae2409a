/** Two generations at work together: whichever side is the older, a user notices nothing. Real workerd; machines in memory. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Scene, type SceneOptions } from './scene.ts'

/** With the sockets that the runner opens. */
const pairs: readonly (SceneOptions & { sockets: number })[] = [
  { frontDoor: 'today', runner: 'today', sockets: 2 },
  { frontDoor: 'today', runner: 'generation 1', sockets: 1 },
  { frontDoor: 'generation 1', runner: 'today', sockets: 1 },
]

describe.each(pairs)('the front door is of $frontDoor, the runner of $runner', (pair) => {
  let scene: Scene
  beforeAll(async () => {
    scene = await Scene.open(pair)
    await scene.startRunner()
  }, 60_000)
  afterAll(async () => {
    await scene?.[Symbol.asyncDispose]()
  }, 30_000)

  const create = async () =>
    (await scene.json<{ id: string }>('POST', '/v1/runs', { image: 'python', mem_mib: 256 })).id
  const status = async (id: string) => (await scene.json<{ status: string }>('GET', `/v1/runs/${id}`)).status
  const echo = async (id: string, word: string) => {
    const { stdout } = await scene.json<{ stdout: string }>('POST', `/v1/runs/${id}/exec`, { command: `echo ${word}` })
    return stdout
  }

  it('creates, runs, carries files, saves, wakes, copies and destroys', async () => {
    const id = await create()
    expect(await echo(id, 'one')).toBe('one\n')
    const content = new Uint8Array(1_500_000).map((_, index) => index % 251)
    await scene.api('POST', `/v1/runs/${id}/files/upload?path=/f`, content)
    const back = await scene.api('GET', `/v1/runs/${id}/files/download?path=/f`)
    expect(Buffer.compare(Buffer.from(await back.arrayBuffer()), content)).toBe(0)
    await scene.api('POST', `/v1/runs/${id}/hibernate`)
    expect(await status(id)).toBe('hibernated')
    await scene.api('POST', `/v1/runs/${id}/resume`)
    expect(await echo(id, 'two')).toBe('two\n')
    const { forks } = await scene.json<{ forks: { id: string }[] }>('POST', `/v1/runs/${id}/fork`, { count: 2 })
    expect(await Promise.all(forks.map((child) => echo(child.id, 'child')))).toEqual(['child\n', 'child\n'])
    for (const one of [id, ...forks.map((child) => child.id)]) await scene.api('DELETE', `/v1/runs/${one}`)
    expect(await scene.json('GET', '/v1/runs')).toMatchObject({ runs: [] })
  }, 60_000)

  it('opens as many sockets as the other side takes, and keeps them', async () => {
    await expect.poll(() => scene.socketsOpened, { timeout: 10_000 }).toBe(pair.sockets)
    await create()
    expect(scene.socketsOpened).toBe(pair.sockets)
  }, 60_000)

  it('answers many calls at once, each its own', async () => {
    const id = await create()
    const words = Array.from({ length: 40 }, (_, index) => `word${index}`)
    expect(await Promise.all(words.map((word) => echo(id, word)))).toEqual(words.map((word) => `${word}\n`))
  }, 60_000)

  it('is used again after the runner was stopped and started; what slept, sleeps', async () => {
    const id = await create()
    await scene.api('POST', `/v1/runs/${id}/hibernate`)
    await scene.stopRunner('SIGTERM')
    await scene.startRunner()
    expect(await status(id)).toBe('hibernated')
    await scene.api('POST', `/v1/runs/${id}/resume`)
    expect(await echo(id, 'back')).toBe('back\n')
    expect(await echo(await create(), 'new')).toBe('new\n')
  }, 60_000)

  it('tells of a runner that was killed with its machines, and takes it back', async () => {
    const id = await create()
    await scene.stopRunner('SIGKILL')
    await scene.startRunner()
    await expect.poll(() => status(id), { timeout: 10_000 }).toBe('error')
    expect(await echo(await create(), 'new')).toBe('new\n')
  }, 60_000)
})
