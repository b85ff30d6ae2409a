/** Messages between the runner (or the edge, through it) and the guest's agent: the bodies of `docs/protocol.md`, "HTTP between runner and agent". A guest's answers are hostile until they have passed one of these. */

import { z } from 'zod'

export const health = z.object({ generation: z.int(), version: z.string(), uptime_ms: z.number(), boot_ms: z.number() })
export type Health = z.infer<typeof health>

/** What makes a VM this sandbox and no other; told after every boot and every restore. */
export interface IdentityRequest {
  readonly sandbox_id: string
  readonly hostname: string
  readonly clock_unix_ms: number
  /** Base64 of 32 bytes or more for the kernel's random pool. */
  readonly entropy: string
  /** Base64 of 32 random bytes: from the confirmation on, the agent refuses whoever does not send it along. */
  readonly token: string
  readonly env: Readonly<Record<string, string>>
  /** Where commands begin whose caller names no folder, and whose user they are: as the image has it. */
  readonly workdir?: string
  readonly user?: string
  /** What a command with `entrypoint` runs. */
  readonly entrypoint?: readonly string[]
  readonly cmd?: readonly string[]
}

/** What is in force in the guest now. Without it nobody may use the VM. */
export const identityConfirmed = z.object({
  hostname: z.string(),
  clock_unix_ms: z.number(),
  entropy_bytes: z.int(),
  /** Of the token's base64, in hex. */
  token_sha256: z.string(),
})
export type IdentityConfirmed = z.infer<typeof identityConfirmed>

/** The header that carries the identity's token with each request. */
export const tokenHeader = 'portico-token'

export interface GuestExecRequest {
  readonly argv?: readonly string[]
  readonly shell?: string
  /** Instead of `argv` and `shell`: the image's entrypoint, with `args` or else the image's own arguments. */
  readonly entrypoint?: boolean
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly user?: string
  /** Base64. */
  readonly stdin?: string
  readonly timeout_ms?: number
  readonly max_output_bytes?: number
}

/** `POST /processes`: without `timeout_ms` it runs for as long as the machine does. */
export interface GuestSpawnRequest extends Omit<GuestExecRequest, 'max_output_bytes'> {
  readonly stdin_open?: boolean
  readonly tty?: { readonly cols: number; readonly rows: number }
  readonly buffer_bytes?: number
  /** The answer is its output; unless `detach` it ends when whoever follows goes away, and is forgotten in any case. */
  readonly follow?: boolean
  readonly detach?: boolean
}

export const guestExecResponse = z.object({
  exit_code: z.int(),
  stdout: z.string(),
  stderr: z.string(),
  timed_out: z.boolean(),
  duration_ms: z.number(),
  signal: z.string().optional(),
  stdout_truncated: z.boolean(),
  stderr_truncated: z.boolean(),
})

export const guestFileList = z.object({
  path: z.string(),
  entries: z.array(
    z.object({
      name: z.string(),
      type: z.enum(['file', 'directory', 'symlink', 'other']),
      size: z.number(),
      mode: z.string(),
      modified_at: z.string(),
    }),
  ),
})

export const guestError = z.object({ error: z.object({ code: z.string(), message: z.string() }) })
