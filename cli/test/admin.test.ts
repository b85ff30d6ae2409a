/** What the operator does: accounts, keys, runners. */

import { WireServer } from '@portico/sdk/test-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cli, direct, Running } from './process.ts'

let wire: WireServer

beforeEach(async () => {
  wire = await WireServer.open()
})

afterEach(async () => {
  await wire.close()
})

const run = (...args: string[]) => cli(args, wire.environment)

async function account(): Promise<string> {
  return (await run('admin', 'accounts', 'create', 'crew')).stdout.trim()
}

describe('portico admin accounts', () => {
  it('creates, lists and shows', async () => {
    const id = await account()
    expect([...wire.admin.accounts.keys()]).toEqual([id])
    expect((await run('admin', 'accounts')).stdout).toMatch(new RegExp(`^ID .*\n${id} +crew `))
    const { stdout } = await run('admin', 'accounts', 'show', id)
    expect(stdout).toMatch(/\n\n +USED +LIMIT\nsandboxes +2 +none\ncpus +4 +none\nmemory +2048 MiB +none\n/)
    expect(JSON.parse((await run('admin', 'accounts', 'show', id, '--json')).stdout)).toMatchObject({
      id,
      inUse: { vcpus: 4 },
    })
    expect(await run('admin', 'accounts', 'show', 'nobody')).toMatchObject({ code: 125, stdout: '' })
  })

  it('sets the limits that are given', async () => {
    const id = await account()
    await run('admin', 'accounts', 'limits', id, '--sandboxes', '10', '--memory', '64G', '--requests', '50')
    const { stdout } = await run('admin', 'accounts', 'limits', id, '--sandboxes', 'none', '--cpus', '0')
    expect(stdout).toBe(
      'LIMIT      VALUE\nsandboxes  none\ncpus       0\nmemory     65536 MiB\nsnapshots  none\nrequests   50/s\n',
    )
    expect(await run('admin', 'accounts', 'limits', id)).toMatchObject({ code: 125, stdout: '' })
  })
})

describe('portico admin keys', () => {
  it('creates one and prints it alone, lists them without it, and revokes', async () => {
    const id = await account()
    const made = await run('admin', 'keys', 'create', id, '--region', 'us', '--scope', 'read-only', '--expires', '30d')
    expect(made).toEqual({ code: 0, stdout: 'portico_live_us_key1_secret\n', stderr: '' })
    expect(JSON.parse(wire.requests.at(-1)?.body.toString() ?? '')).toEqual({
      region: 'us',
      scope: 'read-only',
      expires_in: 2_592_000,
    })
    await run('admin', 'keys', 'create', id, '--region', 'eu', '--name', 'ci')
    expect(await run('admin', 'keys', 'revoke', id, 'key2', 'key3')).toMatchObject({ code: 125, stdout: 'key2\n' })
    const { stdout } = await run('admin', 'keys', 'list', id)
    expect(stdout).toMatch(/^ID .*\nkey1 +key +us +read-only .* never .*\nkey2 +ci +eu +full .* never +revoked\n$/)
    expect(stdout).not.toContain('secret')
  })

  it('needs a region and a scope that exists', async () => {
    const id = await account()
    expect(await run('admin', 'keys', 'create', id)).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/--region/),
    })
    const scope = await run('admin', 'keys', 'create', id, '--region', 'us', '--scope', 'all')
    expect(scope).toMatchObject({ code: 125, stderr: expect.stringMatching(/full, read-only, exec-only/) })
  })
})

describe('portico admin signing-keys', () => {
  it('lists and rotates', async () => {
    expect((await run('admin', 'signing-keys')).stdout).toBe('ID  STATUS  AGE  RETIRED  LAST TOKEN ENDS\n')
    await run('admin', 'signing-keys', 'rotate')
    const { code, stdout } = await run('admin', 'signing-keys', 'rotate')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^ID .*\nsig2 +signing +\S+ .* - +-\nsig1 +retired .* ago +-\n$/)
    expect(JSON.parse((await run('admin', 'signing-keys', 'list', '--json')).stdout)).toMatchObject([
      { id: 'sig2', status: 'signing' },
      { id: 'sig1', status: 'retired' },
    ])
  })
})

describe('portico runners', () => {
  it('enrols one and prints its token alone', async () => {
    const { code, stdout, stderr } = await run('runners', 'enrol', '--region', 'us', '--name', 'rack')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^portico_runner_us_runner[a-z2-7]{26}_secret\n$/)
    const made = JSON.parse((await run('runners', 'enrol', '--region', 'eu', '--json')).stdout)
    expect(made).toMatchObject({ region: 'eu', name: 'runner', token: expect.any(String) })
  })

  it('lists and shows them', async () => {
    const away = wire.admin.addRunner({ name: 'old' })
    const about = { vcpus: 8, free_mem_mib: 2048, load: 0.5, version: '1.2', seen_at: new Date().toISOString() }
    const ready = wire.admin.addRunner({ name: 'new', connected: true, sandboxes: 3, ...about })
    expect((await run('runners')).stdout).toMatch(
      new RegExp(
        `^ID .*\n${away.id} +old +us +away +0 +- +- +- +- +never\n${ready.id} +new +us +ready +3 +8 +2048 MiB +0.5 +1.2 +\\ds ago\n$`,
      ),
    )
    expect((await run('runners', 'list', '-q')).stdout).toBe(`${away.id}\n${ready.id}\n`)
    expect((await run('runners', 'show', ready.id)).stdout).toMatch(/\nsandboxes +3\n/)
    expect(JSON.parse((await run('runners', 'show', ready.id, '--json')).stdout)).toMatchObject({ freeMemMiB: 2048 })
  })

  it('drains one until it is empty, in silence where nobody watches', async () => {
    const { id } = wire.admin.addRunner({ sandboxes: 2 })
    expect(await run('runners', 'drain', id)).toEqual({ code: 0, stdout: `${id}\n`, stderr: '' })
    expect(wire.admin.runners.get(id)?.drain).toEqual({ mode: 'hibernate', running: 0, hibernated: 2, done: true })
    expect((await run('runners')).stdout).toMatch(/ away, drained /)
    expect((await run('runners', 'undrain', id)).stdout).toBe(`${id}\n`)
    expect(wire.admin.runners.get(id)).toMatchObject({ draining: false, drain: null })
  })

  it('drains one and does not wait, if told so', async () => {
    const { id } = wire.admin.addRunner({ sandboxes: 2 })
    const { stdout } = await run('runners', 'drain', id, '--mode', 'wait', '--no-wait', '--json')
    expect(JSON.parse(stdout)).toMatchObject({ id, drain: { mode: 'wait', running: 2, done: false } })
    expect(wire.count(`GET /admin/runners/${id}`)).toBe(0)
  })

  it('says so when a drain is taken back while it waits', async () => {
    const { id } = wire.admin.addRunner({ sandboxes: 2 })
    const draining = run('runners', 'drain', id)
    await wire.arrival(`POST /admin/runners/${id}/drain`)
    wire.intercept(`GET /admin/runners/${id}`, async (seen, response) => {
      const runner = wire.admin.runners.get(id)
      if (runner) wire.admin.runners.set(id, { ...runner, drain: null })
      await wire.answer(seen, response)
    })
    expect(await draining).toMatchObject({
      code: 125,
      stdout: '',
      stderr: expect.stringMatching(/was taken back\nhint: /),
    })
  })

  it('ends a wait when it is interrupted, and leaves the drain', async () => {
    const { id } = wire.admin.addRunner({ sandboxes: 9 })
    const looked = wire.arrival(`GET /admin/runners/${id}`)
    const running = new Running([...direct, 'runners', 'drain', id], wire.environment)
    await looked
    running.kill('SIGINT')
    expect(await running.ended()).toMatchObject({ code: 130, stdout: '' })
    expect(wire.admin.runners.get(id)?.draining).toBe(true)
  })

  it('removes one, with sandboxes only as lost', async () => {
    const { id } = wire.admin.addRunner({ sandboxes: 3 })
    const refused = await run('runners', 'remove', id)
    expect(refused).toMatchObject({ code: 125, stdout: '' })
    expect(refused.stderr).toMatch(/it has 3 sandboxes\nhint: .*--lost/)
    const removed = await run('runners', 'remove', id, '--lost')
    expect(removed).toEqual({ code: 0, stdout: `${id}\n`, stderr: '3 sandboxes were lost with it\n' })
    expect(wire.admin.runners.size).toBe(0)
  })
})
