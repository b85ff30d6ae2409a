/** `@portico/sdk`: run code that you did not write, each piece in a microVM of its own. */

export type { AccountUsage } from './account.ts'
export { type AuditEntry, type AuditOptions, type AuditVerdict, verifyAudit } from './audit.ts'
export type {
  CheckpointInfo,
  CheckpointOptions,
  CheckpointRestored,
  NewCheckpoint,
  SandboxCheckpoints,
} from './checkpoints.ts'
export { Portico, type PorticoOptions } from './client.ts'
export type { GuestCommand } from './command.ts'
export type { AttachOptions, ConsoleView, ConsoleViewEvent } from './console-view.ts'
export type { ConsoleInfo, ConsoleLink, ConsoleLinkOptions, ConsoleOptions, Consoles } from './consoles.ts'
export {
  AuthenticationError,
  CapacityError,
  ConflictError,
  ImageError,
  NotFoundError,
  PorticoError,
  type PorticoErrorCode,
  type PorticoErrorFacts,
  QuotaError,
  RateLimitError,
  TimeoutError,
  UnavailableError,
  ValidationError,
} from './errors.ts'
export type { ExecOptions, ExecResult } from './exec.ts'
export type { FileChange } from './file-changes.ts'
export type { FilePath } from './file-path.ts'
export type { FileEntry, FileMatch, FileMatches, FileStat, FileTree, FileType } from './file-records.ts'
export type {
  CopyOptions,
  FileOptions,
  ListFilesOptions,
  MkdirOptions,
  MoveOptions,
  OwnerOptions,
  ReadOptions,
  RecursiveOptions,
  SandboxFiles,
  SearchOptions,
  UnpackedArchive,
  WriteOptions,
  WrittenFile,
} from './files.ts'
export type { HistoryItem, HistoryOptions } from './history.ts'
export type { ImageConfig, ImageEvent, ImageInfo, ImageOutput, ImageProgress } from './image-records.ts'
export type { BuildFile, BuildImageOptions, BuildStep, ImageListeners, Images, PullImageOptions } from './images.ts'
export type { ListOptions } from './list.ts'
export type { CreateOptions, MakeOptions, RestoreOptions, UpdateOptions } from './options.ts'
export type { FollowOptions, PrintedOptions, ProcessExit, ProcessOutput } from './output.ts'
export type { PortAccess, PortHost, PortInfo, PortLink, PortLinkOptions, PortOptions, SandboxPorts } from './ports.ts'
export type { Process, ProcessInfo, ProcessOptions } from './process.ts'
export type { ProcessInput } from './process-input.ts'
export type { Labels, OnIdle, SandboxInfo, SandboxStatus, SandboxUsage } from './records.ts'
export type { CallOptions, ForkResult, Sandbox } from './sandbox.ts'
export type {
  RestartPolicy,
  SandboxServices,
  ServiceExecOptions,
  ServiceExecResult,
  ServiceInfo,
  ServiceLogOptions,
  ServiceOptions,
  ServiceStatus,
} from './services.ts'
export type { Shell, ShellOptions } from './shell.ts'
export type { ShellResult, ShellRunOptions } from './shell-run.ts'
export type { SnapshotInfo } from './snapshots.ts'
export type { WebSocketConstructor } from './socket.ts'
export type { SpawnOptions, TerminalSize } from './spawn.ts'
export type {
  JsonValue,
  SandboxStore,
  StoreEntry,
  StoreKeys,
  StoreListOptions,
  StoreOperation,
  StoreSetOptions,
} from './store.ts'
export type { Terminal, TerminalExit, TerminalOptions } from './terminal.ts'
export type { FileContent } from './upload.ts'
export { type ReceivedHeaders, type VerifyOptions, verifyWebhook, type WebhookMessage } from './verify-webhook.ts'
export type {
  NewWebhook,
  WebhookDelivery,
  WebhookEventName,
  WebhookInfo,
  WebhookOptions,
  Webhooks,
} from './webhooks.ts'
