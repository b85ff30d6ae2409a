/** `@portico/sdk`: run code that you did not write, each piece in a microVM of its own. */

export { Portico, type PorticoOptions } from './client.ts'
export {
  AuthenticationError,
  CapacityError,
  ConflictError,
  NotFoundError,
  PorticoError,
  type PorticoErrorCode,
  type PorticoErrorFacts,
  TimeoutError,
  UnavailableError,
  ValidationError,
} from './errors.ts'
export type { ExecOptions, ExecResult } from './exec.ts'
export type { FileContent, FileEntry, FileOptions, SandboxFiles, WriteOptions, WrittenFile } from './files.ts'
export type { CreateOptions, RestoreOptions } from './options.ts'
export type { OnIdle, SandboxInfo, SandboxStatus, SandboxUsage } from './records.ts'
export type { CallOptions, ForkResult, Sandbox } from './sandbox.ts'
export type { SnapshotInfo } from './snapshots.ts'
