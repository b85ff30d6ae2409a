/** Schemas as append-only lists: a step is never edited, only followed by another. Running a list twice does nothing. */

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
]

export const runnerSchema: readonly string[] = [
  `CREATE TABLE assigned (
     sandbox TEXT PRIMARY KEY, generation INTEGER NOT NULL, confirmed INTEGER NOT NULL, since INTEGER NOT NULL
   )`,
  'ALTER TABLE assigned ADD COLUMN told TEXT',
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
