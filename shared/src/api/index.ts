/** The public HTTP API as schemas. Requests are parsed strictly enough to catch mistakes and ignore unknown fields, as the documented clients send more than one generation knows. */

export * from './account.ts'
export * from './admin.ts'
export * from './consoles.ts'
export * from './exec.ts'
export * from './files.ts'
export * from './images.ts'
export * from './ports.ts'
export * from './processes.ts'
export * from './runs.ts'
export * from './snapshots.ts'
export * from './webhooks.ts'
