import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WireServer } from '../test/wire-server.ts'
import { Portico, type ProcessOutput, type SandboxServices } from './index.ts'

let wire: WireServer
let portico: Portico
let services: SandboxServices

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
  services = (await portico.create({ image: 'python' })).services
})

afterEach(async () => {
  await portico.close()
  await wire.close()
})

const body = () => JSON.parse(wire.requests.at(-1)?.body.toString() ?? '')

async function text(items: AsyncIterable<ProcessOutput>): Promise<string> {
  let all = ''
  for await (const item of items)
    all += item.type === 'gap' ? `[${item.lost} lost]` : `${item.type}:${Buffer.from(item.bytes)} `
  return all
}

describe('a service', () => {
  it('is defined, started, stopped, looked at and deleted', async () => {
    const made = await services.upsert('web', {
      cmd: 'python3',
      args: ['-m', 'http.server'],
      env: { A: '1' },
      workingDir: '/srv',
      user: 'nobody',
      healthPort: 8000,
      needs: ['db'],
      restart: 'on-failure',
      startTimeoutSec: 5,
      stopTimeoutSec: 2,
    })
    expect(body()).toEqual({
      cmd: 'python3',
      args: ['-m', 'http.server'],
      env: { A: '1' },
      working_dir: '/srv',
      user: 'nobody',
      health_port: 8000,
      needs: ['db'],
      restart: 'on-failure',
      start_timeout_secs: 5,
      stop_timeout_secs: 2,
    })
    expect(made).toEqual({
      name: 'web',
      cmd: 'python3',
      args: ['-m', 'http.server'],
      env: { A: '1' },
      workingDir: '/srv',
      user: 'nobody',
      healthPort: 8000,
      needs: ['db'],
      container: false,
      image: '',
      restart: 'on-failure',
      startTimeoutSec: 5,
      stopTimeoutSec: 2,
      status: 'stopped',
      pid: undefined,
      reason: undefined,
      exitCode: undefined,
      startedAt: undefined,
      restarts: 0,
    })
    expect(await services.start('web')).toMatchObject({
      status: 'running',
      pid: 41,
      startedAt: new Date('2026-01-02T03:04:05Z'),
    })
    expect((await services.list()).map(({ name }) => name)).toEqual(['web'])
    expect(await services.stop('web')).toMatchObject({ status: 'stopped', exitCode: 143 })
    await services.delete('web')
    await expect(services.get('web')).rejects.toMatchObject({ name: 'NotFoundError', code: 'service_not_found' })
  })

  it('that cannot be started is a conflict', async () => {
    await services.upsert('bad', { cmd: 'fails' })
    await expect(services.start('bad')).rejects.toMatchObject({ name: 'ConflictError', code: 'service_failed' })
  })

  it('runs commands where it is a container', async () => {
    await services.upsert('db', { cmd: 'postgres', container: true, image: 'postgres:17' })
    await expect(services.exec('db', ['psql'])).rejects.toMatchObject({ code: 'conflict' })
    await services.start('db')
    expect(await services.exec('db', ['psql', '-c', 'select 1'], { timeoutSec: 5 })).toEqual({
      exitCode: 0,
      ok: true,
      stdout: 'psql -c select 1\n',
      stderr: '',
      timedOut: false,
      durationMs: 2,
    })
    expect(body()).toEqual({ cmd: ['psql', '-c', 'select 1'], timeout_secs: 5 })
    expect(await services.exec('db', ['false'])).toMatchObject({ ok: false, exitCode: 1 })
  })
})

describe('the logs of a service', () => {
  beforeEach(async () => {
    await services.upsert('web', { cmd: 'serve' })
  })

  it('are what it has printed, from an offset on', async () => {
    wire.services.log('web').print('stdout', 'ready\n')
    wire.services.log('web').print('stderr', 'hm\n')
    expect(await text(services.logs('web'))).toBe('stdout:ready\n stderr:hm\n ')
    expect(await text(services.logs('web', { from: 4 }))).toBe('stdout:y\n stderr:hm\n ')
  })

  it('are followed until it is deleted, whatever becomes of the connection', async () => {
    const log = wire.services.log('web')
    log.print('stdout', 'one two')
    wire.services.cuts.push(13 + 3)
    const following = text(services.logs('web', { follow: true }))
    await wire.arrival('GET /v1/runs/*/logs')
    await wire.arrival('GET /v1/runs/*/logs')
    log.print('stdout', ' three')
    await services.delete('web')
    expect((await following).replaceAll(' stdout:', '')).toBe('stdout:one two three ')
  })

  it('end with their signal', async () => {
    const controller = new AbortController()
    const arrived = wire.arrival('GET /v1/runs/*/logs')
    const following = text(services.logs('web', { follow: true, signal: controller.signal }))
    const seen = await arrived
    controller.abort(new Error('enough'))
    await expect(following).rejects.toThrow('enough')
    await seen.abandoned
  })

  it('of a service that is not there are not found', async () => {
    await expect(text(services.logs('other'))).rejects.toMatchObject({ code: 'service_not_found' })
  })
})
