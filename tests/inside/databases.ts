/** PostgreSQL, Redis and pgbouncer as services of a sandbox of the image `services`, and clients of them in it. */

import type { ServiceRequest } from '@portico/shared/api'
import type { InsideClient } from '../kit/inside-client.ts'

/** pgbouncer needs PostgreSQL, which needs Redis: not because it does, but so that one start starts all three in order. */
export const databases: Readonly<Record<string, ServiceRequest>> = {
  redis: {
    cmd: 'redis-server',
    args: ['--port', '6379', '--dir', '/var/lib/redis', '--appendonly', 'yes', '--appendfsync', 'always'],
    health_port: 6379,
    user: 'redis',
  },
  postgres: {
    cmd: 'postgres',
    args: ['-D', '/var/lib/postgresql/data'],
    health_port: 5432,
    needs: ['redis'],
    user: 'postgres',
  },
  pgbouncer: {
    cmd: 'pgbouncer',
    args: ['/etc/pgbouncer/pgbouncer.ini'],
    health_port: 6432,
    needs: ['postgres'],
    user: 'postgres',
  },
}

/** Defines all three and starts the last, and so the others before it. */
export async function startDatabases(client: InsideClient): Promise<void> {
  for (const [name, definition] of Object.entries(databases)) await client.services.upsert(name, definition)
  await client.services.start('pgbouncer')
}

/** A statement through pgbouncer; answers the rows without decoration. */
export async function sql(client: InsideClient, statement: string): Promise<string> {
  return (await client.shell(`psql -XqAt -v ON_ERROR_STOP=1 -h 127.0.0.1 -p 6432 -U postgres -c "${statement}"`)).trim()
}

export async function redis(client: InsideClient, ...words: readonly string[]): Promise<string> {
  return (await client.shell(`redis-cli ${words.join(' ')}`)).trim()
}

/** So many rows and keys; the same count again is the same data. */
export async function write(client: InsideClient, rows: number): Promise<void> {
  await sql(client, 'create table if not exists notes (id int primary key, body text)')
  await sql(
    client,
    `insert into notes select n, md5(n::text) from generate_series(1, ${rows}) n on conflict do nothing`,
  )
  await client.shell(`seq 1 ${rows} | sed 's/.*/SET key:& value:&/' | redis-cli --pipe`)
}

/** What both hold, in one line each: counts, and a hash over all of PostgreSQL's. */
export async function contents(client: InsideClient): Promise<string> {
  const table = await sql(
    client,
    `select count(*) || ' rows ' || md5(string_agg(id || body, ',' order by id)) from notes`,
  )
  return `${table}, ${await redis(client, 'DBSIZE')} keys`
}

/** Status of all services, and the order in which they were started. */
export async function statusOf(client: InsideClient): Promise<string> {
  const found = await client.services.list()
  const started = found.toSorted((a, b) => Date.parse(a.started_at ?? '') - Date.parse(b.started_at ?? ''))
  return started.map(({ name, status }) => `${name} ${status}`).join(', ')
}

export const allRunning = 'redis running, postgres running, pgbouncer running'
