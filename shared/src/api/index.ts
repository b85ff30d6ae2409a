/** The public HTTP API as schemas. Requests are parsed strictly enough to catch mistakes and ignore unknown fields, as the documented clients send more than one generation knows. */

export * from './exec.ts'
export * from './files.ts'
export * from './images.ts'
export * from './runs.ts'
export * from './snapshots.ts'
