import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { usage } from '../../test/sandbox-world.ts'
import { accountSchema, migrate } from './migrations.ts'
import { SandboxIndex } from './sandbox-index.ts'

/** The schema of the first accounts: keys, sandboxes with their index, snapshots. */
const first = accountSchema.slice(0, 4)

describe('an account of the first schema', () => {
  test('keeps what it had and knows what its old sandboxes used', async () => {
    await runInDurableObject(env.ACCOUNTS.get(env.ACCOUNTS.newUniqueId()), async (_object, { storage }) => {
      migrate(storage, first)
      const record = (id: string) => JSON.stringify({ id, status: 'running', vcpus: 2, mem_mib: 512, region: 'local' })
      const add = (id: string, endedAt: number | null, used: object | null) =>
        storage.sql.exec(
          `INSERT INTO sandboxes (id, region, state, version, record, created_at, ended_at, usage)
           VALUES (?, 'local', 'x', 3, ?, 1, ?, ?)`,
          ...[id, record(id), endedAt, used === null ? null : JSON.stringify(used)],
        )
      add('ended', 5, { ...usage, uptime_ms: 1000 })
      add('later', 6, { ...usage, uptime_ms: 3000 })
      add('never', 7, null)
      add('runs', null, null)
      migrate(storage, accountSchema)
      migrate(storage, accountSchema)
      const index = new SandboxIndex(storage.sql)
      const over = { sandboxes: 2, vcpuMs: 8000, mibMs: 2_048_000, cpuMs: 2 * usage.cpu_ms }
      expect(index.totalOver()).toEqual(over)
      expect(index.totalActive(9)).toEqual({ sandboxes: 1, vcpuMs: 0, mibMs: 0, cpuMs: 0 })
      expect(index.over('local', 10).map(({ record: { id } }) => id)).toEqual(['later', 'ended'])
      const [row] = index.list({ region: 'local', limit: 10 })
      expect(row?.record).toMatchObject({ id: 'runs', labels: {}, auto_resume: false, on_idle: 'destroy' })
      await storage.deleteAll()
    })
  })
})
