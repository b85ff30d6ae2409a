/** What the Iris surface has of its own: the gateway's messages, and the bodies of a sandbox's own host that differ from `/v1/runs/{id}/…`. */

import { z } from 'zod'

/** `state` in words of Iris. */
export const irisState = z.enum(['creating', 'running', 'suspending', 'suspended', 'resuming', 'terminated', 'failed'])

export const irisSandbox = z.object({
  /** `sb_` and 26 characters. */
  id: z.string(),
  name: z.string(),
  /** Host name, with the port where that is not the scheme's own, of its data plane. */
  domain: z.string(),
  state: irisState,
  /** RFC 3339. */
  created_at: z.string(),
})
export type IrisSandbox = z.infer<typeof irisSandbox>

/** What CreateSandbox, ForkSandbox and ResumeSandbox answer. */
export const irisSandboxWithToken = z.object({
  sandbox: irisSandbox,
  data_plane_token: z.string(),
  data_plane_token_expires_at_unix: z.int(),
})
export type IrisSandboxWithToken = z.infer<typeof irisSandboxWithToken>

export const irisToken = z.object({ data_plane_token: z.string(), data_plane_token_expires_at_unix: z.int() })
export type IrisToken = z.infer<typeof irisToken>

/** `POST /v1/exec` on a sandbox's own host: text is run by /bin/sh, a list as it is. Answers `inSandboxExecResponse`; one that ran out of time has exit code 124. */
export const irisExecRequest = z.object({
  cmd: z.union([z.string().min(1), z.array(z.string()).min(1)]),
  dir: z.string().startsWith('/').optional(),
  env: z.record(z.string(), z.string()).optional(),
  timeout_ms: z.number().positive().max(86_400_000).default(60_000),
  stdin: z.string().optional(),
  user: z.string().min(1).optional(),
})
export type IrisExecRequest = z.input<typeof irisExecRequest>

/** The most that `POST /v1/files` on a sandbox's own host takes, this included. */
export const irisMaxWriteBytes = 1_048_576
