import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WireServer } from '../test/wire-server.ts'
import { Portico, type Sandbox } from './index.ts'

let wire: WireServer
let portico: Portico
let sandbox: Sandbox

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
  sandbox = await portico.create({ image: 'python' })
})

afterEach(async () => {
  await portico.close()
  await wire.close()
})

describe('a checkpoint', () => {
  it('is made, listed, waited for, gone back to and deleted', async () => {
    const { checkpoints, files } = sandbox
    await files.write('/a', 'before')
    const made = await checkpoints.create({ name: 'clean' })
    const about = { id: made.id, name: 'clean', createdAt: new Date('2026-01-02T03:04:05Z'), sizeBytes: 12_900_000 }
    expect(made).toEqual({ ...about, ready: false, copyMs: 21, pauseMs: 6 })
    expect(await checkpoints.wait(made.id)).toEqual({ sizeBytes: 12_900_000 })
    expect(await checkpoints.list()).toEqual([{ ...about, ready: true }])
    await files.write('/a', 'after')
    expect(await checkpoints.restore(made.id)).toEqual({
      id: made.id,
      restoreMs: 310,
      startedServices: ['db'],
      stoppedServices: [],
      failedServices: [],
    })
    expect(await files.readText('/a')).toBe('before')
    await checkpoints.delete(made.id)
    expect(await checkpoints.list()).toEqual([])
    await expect(checkpoints.restore(made.id)).rejects.toMatchObject({
      name: 'NotFoundError',
      code: 'checkpoint_not_found',
    })
  })

  it('is on the disk for good when its making waits', async () => {
    expect(await sandbox.checkpoints.create({ wait: true })).toMatchObject({ name: '', ready: true })
  })

  it('is neither made nor gone back to twice when the answer is lost', async () => {
    const { id } = await sandbox.checkpoints.create()
    wire.intercept('POST /v1/runs/*', (_seen, response) => response.destroy(), 2)
    await expect(sandbox.checkpoints.create()).rejects.toMatchObject({ name: 'UnavailableError' })
    await expect(sandbox.checkpoints.restore(id)).rejects.toMatchObject({ name: 'UnavailableError' })
    expect(wire.count('POST /v1/runs/*/checkpoints')).toBe(2)
    expect(wire.count('POST /v1/runs/*/restore')).toBe(1)
  })
})
