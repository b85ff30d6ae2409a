import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { WireServer } from '../test/wire-server.ts'
import { PorticoAdmin } from './admin.ts'
import { AuthenticationError, ConflictError, NotFoundError, ValidationError } from './index.ts'

let wire: WireServer
let admin: PorticoAdmin

beforeEach(async () => {
  wire = await WireServer.open()
  admin = new PorticoAdmin({ url: wire.url, adminKey: wire.admin.key })
})

afterEach(async () => {
  admin.close()
  await wire.close()
  vi.unstubAllEnvs()
})

function lastBody(): unknown {
  return JSON.parse(wire.requests.at(-1)?.body.toString() ?? '')
}

describe('the operator’s client', () => {
  it('takes URL and key from the environment', async () => {
    for (const [name, value] of Object.entries(wire.environment)) vi.stubEnv(name, value)
    using fromEnvironment = new PorticoAdmin()
    expect(await fromEnvironment.accounts.list()).toEqual([])
  })

  it('says what it lacks', () => {
    vi.stubEnv('PORTICO_URL', '')
    vi.stubEnv('PORTICO_ADMIN_KEY', '')
    expect(() => new PorticoAdmin({ adminKey: 'k' })).toThrow(ValidationError)
    const keyless = () => new PorticoAdmin({ url: wire.url })
    expect(keyless).toThrow(AuthenticationError)
    expect(keyless).toThrow(
      expect.objectContaining({ hint: 'Set PORTICO_ADMIN_KEY, or pass adminKey to PorticoAdmin.' }),
    )
  })

  it('is refused with a key of an account', async () => {
    const stranger = new PorticoAdmin({ url: wire.url, adminKey: wire.apiKey })
    await expect(stranger.accounts.list()).rejects.toBeInstanceOf(AuthenticationError)
  })

  it('makes no call once it is closed', async () => {
    admin.close()
    await expect(admin.accounts.list()).rejects.toMatchObject({ code: 'cancelled' })
    expect(wire.requests).toEqual([])
  })
})

describe('accounts', () => {
  it('are made, listed and looked up, with limits and what of them is taken', async () => {
    const account = await admin.accounts.create('crew')
    expect(account).toMatchObject({ name: 'crew', createdAt: expect.any(Date) })
    expect(await admin.accounts.list()).toEqual([account])
    const none = { sandboxes: null, vcpus: null, memMiB: null, snapshots: null, requestsPerSecond: null }
    const inUse = { sandboxes: 2, vcpus: 4, memMiB: 2048, snapshots: 0 }
    expect(await admin.accounts.get(account.id)).toEqual({ ...account, limits: none, inUse })
    await expect(admin.accounts.get('nobody')).rejects.toBeInstanceOf(NotFoundError)
  })

  it('get the limits that are given and keep the others', async () => {
    const { id } = await admin.accounts.create('crew')
    await admin.accounts.setLimits(id, { sandboxes: 10, memMiB: 4096 })
    const limits = await admin.accounts.setLimits(id, { sandboxes: null, requestsPerSecond: 50 })
    expect(lastBody()).toEqual({ sandboxes: null, requests_per_second: 50 })
    expect(limits).toEqual({ sandboxes: null, vcpus: null, memMiB: 4096, snapshots: null, requestsPerSecond: 50 })
  })

  it('are not made twice by a call whose answer was lost', async () => {
    wire.fail('POST /admin/accounts', 'overloaded')
    await expect(admin.accounts.create('crew')).rejects.toMatchObject({ code: 'overloaded' })
    expect(wire.count('POST /admin/accounts')).toBe(1)
  })
})

describe('keys', () => {
  it('are made as asked, told once, listed without the secret, and revoked', async () => {
    const { id } = await admin.accounts.create('crew')
    const made = await admin.keys.create(id, { region: 'us', name: 'ci', scope: 'exec-only', expiresInSec: 3600 })
    expect(lastBody()).toEqual({ region: 'us', name: 'ci', scope: 'exec-only', expires_in: 3600 })
    const { key, ...info } = made
    expect(key).toMatch(/^portico_live_us_/)
    expect(info).toMatchObject({ scope: 'exec-only', lastUsedAt: null, revokedAt: null })
    expect(Number(info.expiresAt) - Number(info.createdAt)).toBe(3_600_000)
    expect(await admin.keys.list(id)).toEqual([info])
    expect(await admin.keys.revoke(id, made.id)).toMatchObject({ id: made.id, revokedAt: expect.any(Date) })
  })
})

describe('runners', () => {
  it('are enrolled and looked up', async () => {
    const made = await admin.runners.enrol({ region: 'us', name: 'rack 1' })
    expect(made).toMatchObject({ region: 'us', name: 'rack 1', token: expect.stringContaining(made.id) })
    const runner = await admin.runners.get(made.id)
    expect(runner).toMatchObject({ id: made.id, connected: false, drain: null, memMiB: null, seenAt: null })
    expect(await admin.runners.list()).toEqual([runner])
  })

  it('are drained, as their progress tells, and taken back', async () => {
    const { id } = wire.admin.addRunner({ sandboxes: 2, total_mem_mib: 4096, seen_at: '2026-01-02T03:04:05Z' })
    const drained = await admin.runners.drain(id, 'hibernate')
    expect(drained).toMatchObject({ draining: true, memMiB: 4096, seenAt: expect.any(Date) })
    expect(drained.drain).toEqual({ mode: 'hibernate', running: 2, hibernated: 0, done: false })
    expect((await admin.runners.get(id)).drain).toMatchObject({ running: 1, hibernated: 1, done: false })
    expect((await admin.runners.get(id)).drain).toMatchObject({ done: true })
    expect(await admin.runners.undrain(id)).toMatchObject({ draining: false, drain: null })
  })

  it('are removed, with sandboxes only as lost', async () => {
    const { id } = wire.admin.addRunner({ sandboxes: 3 })
    await expect(admin.runners.remove(id)).rejects.toBeInstanceOf(ConflictError)
    expect(await admin.runners.remove(id, { lost: true })).toBe(3)
    await expect(admin.runners.get(id)).rejects.toBeInstanceOf(NotFoundError)
  })
})

describe('signing keys', () => {
  it('are rotated: the new one signs, the former are retired', async () => {
    expect(await admin.signingKeys.list()).toEqual([])
    await admin.signingKeys.rotate()
    const keys = await admin.signingKeys.rotate()
    expect(keys).toMatchObject([
      { id: 'sig2', status: 'signing', retiredAt: null, lastTokenEndsAt: null },
      { id: 'sig1', status: 'retired', retiredAt: new Date('2026-01-02T03:04:05Z') },
    ])
    expect(await admin.signingKeys.list()).toEqual(keys)
  })

  it('are not rotated twice when the answer is lost', async () => {
    wire.intercept('POST /admin/signing-keys/rotate', (_seen, response) => response.destroy())
    await expect(admin.signingKeys.rotate()).rejects.toMatchObject({ code: 'unreachable' })
    expect(wire.count('POST /admin/signing-keys/rotate')).toBe(1)
  })
})
