/** `/v1/runs/{id}/services…`, and the same below a sandbox's own host as `/v1/services…`: long-running processes that the agent's supervisor keeps. */

import { z } from 'zod'

/** Of a service. */
export const serviceName = z
  .string()
  .regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$/, 'letters, digits, dot, dash, underscore; at most 63')

/** `PUT …/services/{name}`: creates the definition or replaces it. One that runs goes on as it was until it is started again. */
export const serviceRequest = z.object({
  /** Executable, found in PATH; no shell. */
  cmd: z.string().min(1).max(4096),
  args: z.array(z.string().max(131_072)).max(1024).default([]),
  env: z.record(z.string(), z.string()).default({}),
  working_dir: z.string().startsWith('/').optional(),
  /** A user of the sandbox (of the container's image, for one of those), by name or number. */
  user: z.string().min(1).optional(),
  /** It is ready when this TCP port takes connections on loopback; without one, when its process has started. */
  health_port: z.int().min(1).max(65_535).optional(),
  /** These are started first, in order, each until it is ready. */
  needs: z.array(serviceName).max(64).default([]),
  container: z.boolean().default(false),
  /** Required where `container` is true. */
  image: z.string().max(512).default(''),
  /** What happens when it ends by itself. A restart waits 1 s at first, 30 s at most. */
  restart: z.enum(['no', 'on-failure', 'always']).default('no'),
  /** From its start to being ready. */
  start_timeout_secs: z.number().positive().max(3600).default(60),
  /** From SIGTERM to SIGKILL of its whole process group. */
  stop_timeout_secs: z.number().min(0).max(600).default(10),
})
export type ServiceRequest = z.input<typeof serviceRequest>

/**
 * Its status: `stopped` never ran, was stopped, or ended with 0; `failed` ended otherwise, was not ready in time, or could not be started;
 * `unknown` is starting or stopping.
 */
export const serviceStatus = z.enum(['running', 'stopped', 'failed', 'unknown'])

/** What every call on one service answers but logs, exec and delete. */
export const serviceRecord = z.object({
  name: z.string(),
  cmd: z.string(),
  args: z.array(z.string()),
  env: z.record(z.string(), z.string()),
  working_dir: z.string().nullable(),
  user: z.string().nullable(),
  health_port: z.int().nullable(),
  needs: z.array(z.string()),
  container: z.boolean(),
  image: z.string(),
  restart: z.enum(['no', 'on-failure', 'always']),
  start_timeout_secs: z.number(),
  stop_timeout_secs: z.number(),
  status: serviceStatus,
  /** Of a running one; null otherwise. */
  pid: z.int().nullable(),
  /** Why it is in its status, where that needs one; else empty. */
  reason: z.string(),
  /** Of its last end; null before. A signal counts 128 and its number. */
  exit_code: z.int().nullable(),
  /** RFC 3339 of its last start; null before. */
  started_at: z.string().nullable(),
  /** How often it was started again by its restart policy since somebody started it. */
  restarts: z.int(),
})
export type ServiceRecord = z.infer<typeof serviceRecord>

/** `GET …/services`: a bare array, by name. */
export const serviceList = z.array(serviceRecord)

/** `DELETE …/services/{name}`: stops it and forgets it. */
export const serviceDeleted = z.object({ ok: z.literal(true), deleted: z.literal(true) })

/** `POST …/services/{name}/exec`: one command in a running container service. */
export const serviceExecRequest = z.object({
  cmd: z.array(z.string()).min(1),
  timeout_secs: z.number().positive().max(86_400).default(60),
})
export type ServiceExecRequest = z.input<typeof serviceExecRequest>

/** Also what `POST /v1/exec` on a sandbox's own host answers. */
export const inSandboxExecResponse = z.object({
  stdout: z.string(),
  stderr: z.string(),
  exit_code: z.int(),
  /** The exit code is 0. */
  ok: z.boolean(),
  timed_out: z.boolean(),
  duration_ms: z.number(),
})
export type InSandboxExecResponse = z.infer<typeof inSandboxExecResponse>
