/** The unmodified npm package `isorun`, as its users install it, against the local platform. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { askKeeper, type Execute, startKeeper } from '../kit/keeper.ts'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'
import { clientsFolder, installClients } from './clients.ts'

type IsorunModule = typeof import('./clients/node_modules/isorun/dist/index.js')

/** The account's index and notes of calls follow the answers. */
const eventually = { timeout: 20_000, interval: 200 }

/** Not the default one, and one for all tests, those of iii among them: each shape of an image takes a boot before its first sandbox. */
const shape = { image: 'python:3.12-slim', vcpus: 2, memMiB: 512 }

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
    await sandbox.writeFile('/tmp/raw', Buffer.from([0xff, 0]))
    expect((await sandbox.exec('od -An -tx1 /tmp/raw')).stdout).toBe(' ff 00\n')
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

  /** Runs shell lines in a sandbox of the client; one that fails is a failed test. */
  function shellOf(sandbox: Awaited<ReturnType<typeof isorun.create>>): Execute {
    return async (line) => {
      const { exitCode, stdout, stderr } = await sandbox.exec(line)
      expect({ line, exitCode, stderr }).toEqual({ line, exitCode: 0, stderr: '' })
      return stdout
    }
  }

  it('hibernates and resumes with files and processes as they were', async () => {
    const sandbox = await isorun.create(shape)
    const secret = await startKeeper(shellOf(sandbox))
    await sandbox.writeFile('/app/note', 'kept')

    await sandbox.hibernate()
    expect((await sandbox.info()).status).toBe('hibernated')
    expect((await isorun.list()).map(({ id }) => id)).toContain(sandbox.id)
    const used = sandbox.exec('true')
    await expect(used).rejects.toBeInstanceOf(IsorunError)
    await expect(used).rejects.toMatchObject({ status: 409, body: expect.stringContaining('sandbox_hibernated') })

    await sandbox.resume()
    expect((await sandbox.info()).status).toBe('running')
    expect(await askKeeper(shellOf(sandbox))).toEqual({ secret, turns: 2 })
    expect(await sandbox.readFile('/app/note')).toBe('kept')
    expect((await sandbox.destroy()).status).toBe('destroyed')
  })

  it('forks into sandboxes that go on from the moment, each for itself', async () => {
    const sandbox = await isorun.create(shape)
    const secret = await startKeeper(shellOf(sandbox))
    await sandbox.writeFile('/app/note', 'of the parent')

    const children = await sandbox.fork(2)
    const all = [sandbox, ...children]
    expect(new Set(all.map(({ id }) => id)).size).toBe(3)
    for (const child of children) {
      expect(child).toMatchObject(shape)
      await child.writeFile('/app/note', child.id)
    }
    for (const one of all) expect(await askKeeper(shellOf(one))).toEqual({ secret, turns: 2 })
    expect(await Promise.all(all.map((one) => one.readFile('/app/note')))).toEqual([
      'of the parent',
      ...children.map(({ id }) => id),
    ])
    expect(await sandbox.fork()).toHaveLength(1)
    for (const { id } of await isorun.list()) await (await isorun.get(id))?.destroy()
    expect(await isorun.list()).toEqual([])
  })

  it('takes a snapshot that outlives its sandbox, restores it twice, lists and deletes it', async () => {
    const sandbox = await isorun.create(shape)
    const secret = await startKeeper(shellOf(sandbox))
    await sandbox.writeFile('/app/note', 'kept')
    const snapshot = await sandbox.snapshot()
    expect(snapshot).toMatchObject({ id: expect.stringMatching(/^snap/), runId: sandbox.id })
    expect(snapshot.sizeBytes).toBeGreaterThan(0)
    expect(Date.parse(snapshot.createdAt)).toBeGreaterThan(Date.now() - 120_000)
    await sandbox.writeFile('/app/note', 'too late')
    await sandbox.destroy()
    expect(await isorun.listSnapshots()).toEqual([snapshot])

    for (let turn = 0; turn < 2; turn++) {
      const restored = await isorun.restore(snapshot.id)
      expect(restored).toMatchObject(shape)
      expect(await askKeeper(shellOf(restored))).toEqual({ secret, turns: 2 })
      expect(await restored.readFile('/app/note')).toBe('kept')
      await restored.destroy()
    }

    await isorun.deleteSnapshot(snapshot.id)
    expect(await isorun.listSnapshots()).toEqual([])
    await expect(isorun.restore(snapshot.id)).rejects.toMatchObject({ status: 404 })
    await expect(isorun.deleteSnapshot(snapshot.id)).rejects.toMatchObject({ status: 404 })
  })

  it('tells usage, history and the audit log of a sandbox, while it runs and after its end', async () => {
    const before = await isorun.usage()
    expect(before).toMatchObject({ activeSandboxes: 0, activeCostCents: 0 })
    const started = Date.now()
    const sandbox = await isorun.create(shape)
    expect((await sandbox.exec('exit 3')).exitCode).toBe(3)
    await sandbox.writeFile('/app/note', 'kept')

    await expect.poll(async () => (await isorun.usage()).activeSandboxes, eventually).toBe(1)
    const running = await isorun.usage()
    expect(running.historySandboxes).toBe(before.historySandboxes)
    expect(running.activeCostCents).toBeGreaterThan(0)
    expect(running.totalCostCents).toBeCloseTo(running.activeCostCents + running.historyCostCents, 10)
    expect(Date.parse(running.asOf)).toBeGreaterThanOrEqual(started)
    expect((await isorun.history()).map(({ id }) => id)).not.toContain(sandbox.id)

    const eventsOf = async () => (await sandbox.auditLog()).map(({ event }) => event)
    const noted = ['sandbox.created', 'exec.start', 'exec.exit', 'file.uploaded']
    await expect.poll(eventsOf, eventually).toEqual(noted)
    const used = await sandbox.destroy()

    await expect.poll(async () => (await isorun.usage()).historySandboxes, eventually).toBe(before.historySandboxes + 1)
    const after = await isorun.usage()
    expect(after).toMatchObject({ activeSandboxes: 0, activeCostCents: 0 })
    expect(after.totalCostCents - before.totalCostCents).toBeCloseTo(used.costCents, 10)
    expect(after.cpuSeconds - before.cpuSeconds).toBeCloseTo(used.cpuMs / 1000, 6)
    expect(after.memSeconds - before.memSeconds).toBeCloseTo(used.uptimeMs / 2 / 1000, 6)

    const [newest] = await isorun.history()
    const { status: _, ...figures } = used
    expect(newest).toMatchObject({ id: sandbox.id, ...shape, ...figures })
    expect(newest?.createMs).toBeGreaterThan(0)
    expect(Date.parse(newest?.createdAt ?? '')).toBeLessThan(Date.parse(newest?.destroyedAt ?? ''))

    const entries = await sandbox.auditLog()
    expect(entries.map(({ seq, event }) => [seq, event])).toEqual(
      [...noted, 'sandbox.destroyed'].map((event, seq) => [seq, event]),
    )
    expect(entries[0]?.data).toEqual({ image: 'python:3.12-slim', vcpus: 2, mem_mib: 512 })
    expect(entries[2]?.data).toMatchObject({ command: 'exit 3', exit_code: 3 })
    expect(entries[3]?.data).toEqual({ path: '/app/note', bytes: 4 })
    for (const { sandboxId, hmac, timestamp } of entries) {
      expect({ sandboxId, hmac }).toEqual({
        sandboxId: sandbox.id,
        hmac: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      })
      expect(Date.parse(timestamp)).toBeGreaterThanOrEqual(started)
    }
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
