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
]
