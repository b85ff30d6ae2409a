/**
 * Steps of an account's schema that keep totals by triggers, so that no write can leave them behind: they move in the statement that moves
 * the rows. `in_use` is what limits count: sandboxes that hold a machine, room that is kept for those that do not yet, and snapshots.
 * `kept_calls` is the size of the calls that came with an `Idempotency-Key`. These lists are closed: what follows goes to the schema's end.
 */

const holding = "('creating', 'running', 'hibernating', 'resuming')"

/**
 * A sandbox that takes up or gives up a machine. Room that is kept for the same one counts exactly while its row does not, so that is
 * taken out or comes back in the same step. `before` and `now` say whether the row counted and whether it does.
 */
function moved(id: string, before: string, now: string, size: (column: string) => string): string {
  const kept = (what: string) => `COALESCE((SELECT ${what} FROM admissions WHERE sandbox = ${id}), 0)`
  const sum = (column: string) => `${column} = ${column} + ${size(column)} - (${now} - ${before}) * ${kept(column)}`
  return `UPDATE in_use SET sandboxes = sandboxes + (${now} - ${before}) * (1 - ${kept('1')}),
    ${sum('vcpus')}, ${sum('mem_mib')};`
}

const [wasHeld, isHeld] = [`(OLD.state IN ${holding})`, `(NEW.state IN ${holding})`]
const was = (column: string) => `${wasHeld} * COALESCE(OLD.${column}, 0)`
const is = (column: string) => `${isHeld} * COALESCE(NEW.${column}, 0)`
const isApart = (row: string) =>
  `NOT EXISTS (SELECT 1 FROM sandboxes WHERE id = ${row}.sandbox AND state IN ${holding})`
const counted = (row: string, sign: string) =>
  `UPDATE in_use SET sandboxes = sandboxes ${sign} 1, vcpus = vcpus ${sign} ${row}.vcpus, mem_mib = mem_mib ${sign} ${row}.mem_mib;`

export const inUseSteps: readonly string[] = [
  `CREATE TABLE in_use (
     id INTEGER PRIMARY KEY CHECK (id = 1), sandboxes INTEGER NOT NULL, vcpus INTEGER NOT NULL, mem_mib INTEGER NOT NULL,
     snapshots INTEGER NOT NULL
   )`,
  `INSERT INTO in_use
     SELECT 1, COUNT(*), COALESCE(SUM(vcpus), 0), COALESCE(SUM(mem_mib), 0), (SELECT COUNT(*) FROM snapshots)
     FROM (SELECT vcpus, mem_mib FROM sandboxes WHERE state IN ${holding} UNION ALL
       SELECT vcpus, mem_mib FROM admissions WHERE ${isApart('admissions')})`,
  `CREATE TRIGGER sandboxes_new AFTER INSERT ON sandboxes WHEN ${isHeld} BEGIN
     ${moved('NEW.id', '0', '1', is)}
   END`,
  `CREATE TRIGGER sandboxes_moved AFTER UPDATE ON sandboxes
     WHEN ${wasHeld} <> ${isHeld} OR (${isHeld} AND (OLD.vcpus IS NOT NEW.vcpus OR OLD.mem_mib IS NOT NEW.mem_mib)) BEGIN
     ${moved('NEW.id', wasHeld, isHeld, (column) => `${is(column)} - ${was(column)}`)}
   END`,
  `CREATE TRIGGER sandboxes_gone AFTER DELETE ON sandboxes WHEN ${wasHeld} BEGIN
     ${moved('OLD.id', '1', '0', (column) => `0 - ${was(column)}`)}
   END`,
  `CREATE TRIGGER admissions_new AFTER INSERT ON admissions WHEN ${isApart('NEW')} BEGIN ${counted('NEW', '+')} END`,
  `CREATE TRIGGER admissions_gone AFTER DELETE ON admissions WHEN ${isApart('OLD')} BEGIN ${counted('OLD', '-')} END`,
  'CREATE TRIGGER snapshots_new AFTER INSERT ON snapshots BEGIN UPDATE in_use SET snapshots = snapshots + 1; END',
  'CREATE TRIGGER snapshots_gone AFTER DELETE ON snapshots BEGIN UPDATE in_use SET snapshots = snapshots - 1; END',
  'CREATE INDEX admissions_until ON admissions (until)',
  'DROP INDEX sandboxes_machines',
]

const bytes = (row: string) =>
  `(200 + length(CAST(${row}.key AS BLOB)) + length(CAST(${row}.ids AS BLOB)) + COALESCE(length(CAST(${row}.body AS BLOB)), 0))`

export const keptCallsSteps: readonly string[] = [
  'CREATE INDEX idempotency_answered ON idempotency (since) WHERE status IS NOT NULL',
  'CREATE TABLE kept_calls (id INTEGER PRIMARY KEY CHECK (id = 1), bytes INTEGER NOT NULL)',
  `INSERT INTO kept_calls SELECT 1, COALESCE(SUM(${bytes('idempotency')}), 0) FROM idempotency`,
  `CREATE TRIGGER idempotency_new AFTER INSERT ON idempotency BEGIN
     UPDATE kept_calls SET bytes = bytes + ${bytes('NEW')};
   END`,
  `CREATE TRIGGER idempotency_moved AFTER UPDATE OF key, ids, body ON idempotency BEGIN
     UPDATE kept_calls SET bytes = bytes + ${bytes('NEW')} - ${bytes('OLD')};
   END`,
  `CREATE TRIGGER idempotency_gone AFTER DELETE ON idempotency BEGIN
     UPDATE kept_calls SET bytes = bytes - ${bytes('OLD')};
   END`,
]
