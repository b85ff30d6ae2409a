/**
 * Steps of an account's schema that make it cheap to find what is to be sent. `ready_at` is when a delivery may be tried; it is null for one
 * that waits behind another and for one that is done. `delivery_counts` is kept by triggers, so that no write can leave it behind. The list
 * is closed: what follows goes to the schema's end.
 */

const pending = (row: string) => `(${row}.state = 'pending')`

export const deliverySteps: readonly string[] = [
  'ALTER TABLE deliveries ADD COLUMN ready_at INTEGER',
  `UPDATE deliveries SET ready_at = next_at WHERE state = 'pending' AND NOT EXISTS (SELECT 1 FROM deliveries AS older
     WHERE older.state = 'pending' AND older.webhook = deliveries.webhook AND older.sandbox = deliveries.sandbox
     AND older.seq < deliveries.seq AND older.attempts < 4)`,
  'CREATE INDEX deliveries_ready ON deliveries (attempts, ready_at) WHERE ready_at IS NOT NULL',
  "CREATE INDEX deliveries_ahead ON deliveries (webhook, sandbox, seq) WHERE state = 'pending' AND attempts < 4",
  "CREATE INDEX deliveries_waiting ON deliveries (webhook, seq) WHERE state = 'pending'",
  "CREATE INDEX deliveries_done ON deliveries (webhook, seq) WHERE state <> 'pending'",
  'DROP INDEX deliveries_pending',
  'CREATE TABLE delivery_counts (webhook TEXT PRIMARY KEY, pending INTEGER NOT NULL, done INTEGER NOT NULL)',
  `INSERT INTO delivery_counts
     SELECT webhook, SUM(state = 'pending'), SUM(state <> 'pending') FROM deliveries GROUP BY webhook`,
  `CREATE TRIGGER deliveries_new AFTER INSERT ON deliveries BEGIN
     INSERT INTO delivery_counts VALUES (NEW.webhook, ${pending('NEW')}, NOT ${pending('NEW')})
       ON CONFLICT (webhook) DO UPDATE SET pending = pending + excluded.pending, done = done + excluded.done;
   END`,
  `CREATE TRIGGER deliveries_moved AFTER UPDATE OF state ON deliveries WHEN ${pending('OLD')} <> ${pending('NEW')} BEGIN
     UPDATE delivery_counts SET pending = pending + ${pending('NEW')} - ${pending('OLD')},
       done = done + ${pending('OLD')} - ${pending('NEW')} WHERE webhook = NEW.webhook;
   END`,
  `CREATE TRIGGER deliveries_gone AFTER DELETE ON deliveries BEGIN
     UPDATE delivery_counts SET pending = pending - ${pending('OLD')}, done = done - (NOT ${pending('OLD')})
       WHERE webhook = OLD.webhook;
   END`,
]
