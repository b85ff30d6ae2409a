/** `@portico/sdk/iris`: sandboxes as the documents of Iris write them. Fields are named as on the wire. */

export type { CheckpointInfo, CheckpointList, Checkpoints, NewCheckpoint, Restored } from './iris/checkpoints.ts'
export { IrisClient, type IrisOptions, type IrisSandboxes } from './iris/client.ts'
export { IrisError, type IrisErrorFacts } from './iris/errors.ts'
export type { Exec, ExecOptions, ExecResult } from './iris/exec.ts'
export type { EntryType, FileEntry, FileExists, FileListing, FileStat, SandboxFiles } from './iris/files.ts'
export { Sandbox, type SandboxState } from './iris/sandbox.ts'
export type { Service, ServiceDefinition, ServiceStatus, Services } from './iris/services.ts'
export type { BatchOperation, Store, StoreEntry, StoreKeys, StoreValue } from './iris/store.ts'
