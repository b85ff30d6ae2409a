/** The unmodified npm package `isorun`, as its users install it, against the local platform. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'
import { clientsFolder, installClients } from './clients.ts'

type IsorunModule = typeof import('./clients/node_modules/isorun/dist/index.js')

describe('isorun 1.0.1', () => {
  let platform: TestPlatform
  let isorun: InstanceType<IsorunModule['Isorun']>
  let IsorunError: IsorunModule['IsorunError']

  beforeAll(async () => {
    await installClients()
    platform = await testPlatform()
    process.env.ISORUN_API_URL = platform.platform.url
    process.env.ISORUN_API_KEY = platform.platform.apiKey
    const module = (await import(
      pathToFileURL(join(clientsFolder, 'node_modules/isorun/dist/index.js')).href
    )) as IsorunModule
    isorun = new module.Isorun()
    IsorunError = module.IsorunError
  })

  afterAll(async () => {
    isorun?.close()
    delete process.env.ISORUN_API_URL
    delete process.env.ISORUN_API_KEY
    await platform?.[Symbol.asyncDispose]()
  })

  it('is the package of the registry, at the version that is pinned', async () => {
    const { version } = JSON.parse(await readFile(join(clientsFolder, 'node_modules/isorun/package.json'), 'utf8')) as {
      version: string
    }
    expect(version).toBe('1.0.1')
  })

  it('creates with its defaults, execs, writes, reads, lists, gets, sets the timeout and destroys', async () => {
    const sandbox = await isorun.create()
    expect(sandbox.id).toMatch(/^run[a-z2-7]{26}$/)
    expect(sandbox).toMatchObject({ image: 'node:22-slim', vcpus: 1, memMiB: 1024, diskMiB: 4096 })
    expect(sandbox.createMs).toBeGreaterThan(0)

    const { exitCode, stdout, stderr } = await sandbox.exec('node -v; echo careful >&2; exit 3', 60)
    expect({ exitCode, stderr }).toEqual({ exitCode: 3, stderr: 'careful\n' })
    expect(stdout).toMatch(/^v22\./)

    await sandbox.writeFile('/app/config.json', JSON.stringify({ env: 'prod' }))
    await sandbox.writeFile('/app/empty', '')
    expect(await sandbox.readFile('/app/config.json')).toBe('{"env":"prod"}')
    expect(await sandbox.readFile('/app/empty')).toBe('')
    expect(await sandbox.readdir('/app')).toEqual([{ name: 'config.json' }, { name: 'empty' }])

    const info = await sandbox.info()
    expect(info).toMatchObject({ id: sandbox.id, status: 'running', image: 'node:22-slim', vcpus: 1, memMiB: 1024 })
    expect(Date.parse(info.createdAt)).toBeGreaterThan(Date.now() - 120_000)
    expect((await isorun.list()).map(({ id }) => id)).toContain(sandbox.id)
    expect((await isorun.get(sandbox.id))?.id).toBe(sandbox.id)
    await sandbox.setTimeout(900)

    const usage = await sandbox.destroy()
    expect(usage.status).toBe('destroyed')
    expect(usage.cpuMs).toBeGreaterThan(0)
    expect(usage.memPeakBytes).toBeGreaterThan(16 * 2 ** 20)
    expect(usage.uptimeMs).toBeGreaterThan(0)
    expect(usage.costCents).toBeCloseTo((usage.uptimeMs / 3_600_000) * 4, 10)
    expect(await isorun.get(sandbox.id)).toBeNull()
    expect(await isorun.list()).toEqual([])
  })

  it('gets null for an id that was never given', async () => {
    expect(await isorun.get('run0123456789abcdef')).toBeNull()
  })

  it('throws its error with the status and our one line', async () => {
    const refused = isorun.create({ image: 'no-such-image:1' })
    await expect(refused).rejects.toBeInstanceOf(IsorunError)
    await expect(refused).rejects.toMatchObject({ status: 400, message: expect.stringContaining('no-such-image:1') })
  })
})
