/** Steps of an account's schema for its images: what there is of them, which names lead to them, and the snapshots that they are made of. */

export const imageSteps: readonly string[] = [
  `CREATE TABLE images (
     id TEXT PRIMARY KEY, region TEXT NOT NULL, version INTEGER NOT NULL, status TEXT NOT NULL, record TEXT NOT NULL, asked TEXT,
     snapshot TEXT, created_at INTEGER NOT NULL
   )`,
  'CREATE INDEX images_region ON images (region, created_at DESC)',
  'CREATE TABLE image_names (region TEXT NOT NULL, name TEXT NOT NULL, image TEXT NOT NULL, PRIMARY KEY (region, name)) WITHOUT ROWID',
  'CREATE INDEX image_names_image ON image_names (image)',
  'ALTER TABLE snapshots ADD COLUMN image TEXT',
  'ALTER TABLE snapshots ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0',
  'CREATE INDEX snapshots_image ON snapshots (image) WHERE image IS NOT NULL',
  // What an image was made of and is only still to be swept counts no more.
  'DROP TRIGGER snapshots_gone',
  `CREATE TRIGGER snapshots_gone AFTER DELETE ON snapshots WHEN OLD.dropped = 0 BEGIN
     UPDATE in_use SET snapshots = snapshots - 1;
   END`,
  `CREATE TRIGGER snapshots_dropped AFTER UPDATE OF dropped ON snapshots WHEN OLD.dropped = 0 AND NEW.dropped <> 0 BEGIN
     UPDATE in_use SET snapshots = snapshots - 1;
   END`,
  'UPDATE in_use SET snapshots = (SELECT COUNT(*) FROM snapshots WHERE dropped = 0)',
  // Images that the account has forgotten and whose objects were not told yet.
  'CREATE TABLE image_drops (image TEXT PRIMARY KEY, since INTEGER NOT NULL)',
]
