/** Schemas as append-only lists: a step is never edited, only followed by another. Running a list twice does nothing. */

import { deliverySteps } from './delivery-steps.ts'
import { imageSteps } from './image-steps.ts'
import { inUseSteps, keptCallsSteps } from './in-use.ts'

export const accountSchema: readonly string[] = [
  `CREATE TABLE keys (
     id TEXT PRIMARY KEY, region TEXT NOT NULL, name TEXT NOT NULL, hash TEXT NOT NULL,
     created_at TEXT NOT NULL, revoked_at TEXT
   )`,
  `CREATE TABLE sandboxes (
     id TEXT PRIMARY KEY, region TEXT NOT NULL, state TEXT NOT NULL, version INTEGER NOT NULL, record TEXT NOT NULL,
     created_at INTEGER NOT NULL, ended_at INTEGER, usage TEXT
   )`,
  'CREATE INDEX sandboxes_active ON sandboxes (region, created_at DESC) WHERE ended_at IS NULL',
  `CREATE TABLE snapshots (
     id TEXT PRIMARY KEY, region TEXT NOT NULL, run TEXT NOT NULL, runner TEXT NOT NULL, size_bytes INTEGER,
     created_at INTEGER NOT NULL, resolved_image TEXT NOT NULL, spec TEXT NOT NULL
   )`,
  "ALTER TABLE keys ADD COLUMN scope TEXT NOT NULL DEFAULT 'full'",
  'ALTER TABLE keys ADD COLUMN expires_at TEXT',
  'ALTER TABLE keys ADD COLUMN last_used_at TEXT',
  "ALTER TABLE sandboxes ADD COLUMN vcpus INTEGER GENERATED ALWAYS AS (json_extract(record, '$.vcpus')) VIRTUAL",
  "ALTER TABLE sandboxes ADD COLUMN mem_mib INTEGER GENERATED ALWAYS AS (json_extract(record, '$.mem_mib')) VIRTUAL",
  `CREATE INDEX sandboxes_machines ON sandboxes (id, vcpus, mem_mib)
     WHERE state IN ('creating', 'running', 'hibernating', 'resuming')`,
  `CREATE TABLE admissions (
     sandbox TEXT PRIMARY KEY, vcpus INTEGER NOT NULL, mem_mib INTEGER NOT NULL, until INTEGER NOT NULL
   )`,
  `CREATE TABLE idempotency (
     key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, ids TEXT NOT NULL, since INTEGER NOT NULL, status INTEGER, body TEXT
   )`,
  'CREATE INDEX idempotency_since ON idempotency (since)',
  'ALTER TABLE sandboxes ADD COLUMN running_since INTEGER',
  'ALTER TABLE sandboxes ADD COLUMN checked_at INTEGER NOT NULL DEFAULT 0',
  `CREATE INDEX sandboxes_over ON sandboxes (region, ended_at DESC, id DESC)
     WHERE ended_at IS NOT NULL AND usage IS NOT NULL`,
  `CREATE TABLE totals (
     id INTEGER PRIMARY KEY CHECK (id = 1), sandboxes INTEGER NOT NULL, vcpu_ms REAL NOT NULL, mib_ms REAL NOT NULL,
     cpu_ms REAL NOT NULL
   )`,
  `INSERT INTO totals
     SELECT 1, COUNT(*), TOTAL(json_extract(record, '$.vcpus') * json_extract(usage, '$.uptime_ms')),
       TOTAL(json_extract(record, '$.mem_mib') * json_extract(usage, '$.uptime_ms')), TOTAL(json_extract(usage, '$.cpu_ms'))
     FROM sandboxes WHERE ended_at IS NOT NULL AND usage IS NOT NULL`,
  `CREATE TABLE webhooks (
     id TEXT PRIMARY KEY, url TEXT NOT NULL, events TEXT NOT NULL, secret TEXT NOT NULL, created_at INTEGER NOT NULL
   )`,
  `CREATE TABLE deliveries (
     seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, webhook TEXT NOT NULL, event TEXT NOT NULL,
     sandbox TEXT NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, last_status INTEGER,
     last_error TEXT, created_at INTEGER NOT NULL, next_at INTEGER
   )`,
  "CREATE INDEX deliveries_pending ON deliveries (webhook, sandbox, seq) WHERE state = 'pending'",
  'CREATE INDEX deliveries_log ON deliveries (webhook, seq DESC)',
  ...inUseSteps,
  ...keptCallsSteps,
  ...deliverySteps,
  ...imageSteps,
]

export const directorySchema: readonly string[] = [
  'CREATE TABLE accounts (id TEXT PRIMARY KEY, name TEXT NOT NULL, created_at TEXT NOT NULL)',
]

export const regionSchema: readonly string[] = [
  `CREATE TABLE runners (
     id TEXT PRIMARY KEY, region TEXT NOT NULL, name TEXT NOT NULL, hash TEXT NOT NULL, created_at TEXT NOT NULL,
     tunnel TEXT, seen_at INTEGER, status TEXT
   )`,
  `CREATE TABLE reservations (
     sandbox TEXT PRIMARY KEY, runner TEXT NOT NULL, mem_mib INTEGER NOT NULL, until INTEGER NOT NULL
   )`,
  'ALTER TABLE runners ADD COLUMN drain TEXT',
  'ALTER TABLE reservations ADD COLUMN vcpus INTEGER NOT NULL DEFAULT 0',
]

export const runnerSchema: readonly string[] = [
  `CREATE TABLE assigned (
     sandbox TEXT PRIMARY KEY, generation INTEGER NOT NULL, confirmed INTEGER NOT NULL, since INTEGER NOT NULL
   )`,
  'ALTER TABLE assigned ADD COLUMN told TEXT',
  'ALTER TABLE assigned ADD COLUMN away INTEGER NOT NULL DEFAULT 0',
  'ALTER TABLE assigned ADD COLUMN asked INTEGER NOT NULL DEFAULT 0',
  'ALTER TABLE assigned ADD COLUMN heard INTEGER NOT NULL DEFAULT 0',
]

export const sandboxSchema: readonly string[] = [
  `CREATE TABLE audit (
     seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, event TEXT NOT NULL, data TEXT NOT NULL, total INTEGER NOT NULL, hmac TEXT
   )`,
  'CREATE INDEX audit_unsealed ON audit (seq) WHERE hmac IS NULL',
  "CREATE INDEX audit_full ON audit (seq) WHERE event = 'audit.full'",
  'CREATE TABLE consoles (id TEXT PRIMARY KEY)',
  'CREATE TABLE ports (port INTEGER PRIMARY KEY, access TEXT NOT NULL, host TEXT NOT NULL, version INTEGER NOT NULL)',
  'CREATE TABLE store (key TEXT PRIMARY KEY, json TEXT NOT NULL, bytes INTEGER NOT NULL, expires_at INTEGER) WITHOUT ROWID',
  'CREATE INDEX store_expiry ON store (expires_at) WHERE expires_at IS NOT NULL',
  'CREATE TABLE store_total (id INTEGER PRIMARY KEY CHECK (id = 1), keys INTEGER NOT NULL, bytes INTEGER NOT NULL)',
  'INSERT INTO store_total (id, keys, bytes) VALUES (1, 0, 0)',
]

export const consoleSchema: readonly string[] = [
  'CREATE TABLE scrollback (at INTEGER PRIMARY KEY, kind TEXT NOT NULL, run TEXT, bytes BLOB NOT NULL)',
]

export const imageSchema: readonly string[] = [
  'CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, bytes INTEGER NOT NULL, json TEXT NOT NULL)',
]

export const keyringSchema: readonly string[] = [
  `CREATE TABLE signing_keys (
     kid TEXT PRIMARY KEY, created_at INTEGER NOT NULL, retired_at INTEGER, last_until INTEGER NOT NULL, public TEXT NOT NULL, private BLOB
   )`,
]

/** Brings an object's database up to the end of its list; the number of steps taken is kept in the object's key-value storage. */
export function migrate(storage: DurableObjectStorage, steps: readonly string[]): void {
  const taken = storage.kv.get<number>('schema') ?? 0
  if (taken >= steps.length) return
  storage.transactionSync(() => {
    for (const step of steps.slice(taken)) storage.sql.exec(step)
    storage.kv.put('schema', steps.length)
  })
}
