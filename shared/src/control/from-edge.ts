/** What the edge asks of a runner. Every call names the sandbox's generation: a runner that holds another one refuses with `moved`. */

import { z } from 'zod'
import { maxForkChildren } from '../limits.ts'

/** A caller's W3C `traceparent`, under which the runner's span of this call stands. */
const trace = z.string().max(128).optional()
const target = { sandbox: z.string(), generation: z.int().min(1) }

/** What to boot. `image` is as the caller wrote it; the runner resolves it. */
export const sandboxSpec = z.object({
  image: z.string(),
  vcpus: z.int(),
  mem_mib: z.int(),
  disk_mib: z.int(),
  /** Seconds; 0 is never. */
  idle_timeout: z.int().min(0),
  env: z.record(z.string(), z.string()),
  /** Any use wakes it when it is hibernated. */
  auto_resume: z.boolean().default(false),
  /** What happens after `idle_timeout`. */
  on_idle: z.enum(['destroy', 'hibernate']).default('destroy'),
})
export type SandboxSpec = z.infer<typeof sandboxSpec>

const headers = z.record(z.string(), z.string())
const port = z.int().min(1).max(65535)
/** Headers in their order, names in lower case, a name as often as it stood. End to end ones only. */
export const headerList = z.array(z.tuple([z.string(), z.string()])).max(256)
export type HeaderList = z.infer<typeof headerList>

export const edgeCall = z.discriminatedUnion('op', [
  z.object({ op: z.literal('sandbox.create'), ...target, spec: sandboxSpec, trace }),
  z.object({ op: z.literal('sandbox.update'), ...target, idle_timeout: z.int().min(0) }),
  z.object({ op: z.literal('sandbox.destroy'), ...target }),
  z.object({ op: z.literal('sandbox.stats'), ...target }),
  /** Children of this moment, each a sandbox of its own with its parent's spec. Repeated: the same children. */
  z.object({
    op: z.literal('sandbox.fork'),
    ...target,
    children: z.array(z.object(target)).min(1).max(maxForkChildren),
    trace,
  }),
  /** Keeps the state of this moment under `snapshot` until it is deleted. Repeated: the same answer. */
  z.object({ op: z.literal('sandbox.snapshot'), ...target, snapshot: z.string() }),
  /** A new sandbox from a snapshot; `spec`'s machine is the snapshot's, and its `env` is set on top of what the snapshot's guest has. */
  z.object({ op: z.literal('sandbox.restore'), ...target, snapshot: z.string(), spec: sandboxSpec, trace }),
  z.object({ op: z.literal('sandbox.hibernate'), ...target }),
  z.object({ op: z.literal('sandbox.resume'), ...target }),
  z.object({ op: z.literal('snapshot.delete'), snapshot: z.string() }),
  /** Keeps the files of this moment under `checkpoint` while the sandbox runs on. Repeated: the same answer. */
  z.object({
    op: z.literal('checkpoint.create'),
    ...target,
    checkpoint: z.string(),
    name: z.string(),
    created_at: z.string(),
    wait: z.boolean(),
  }),
  /** Also of a hibernated sandbox. */
  z.object({ op: z.literal('checkpoint.list'), ...target }),
  /** Answers when it is on the disk for good. */
  z.object({ op: z.literal('checkpoint.wait'), ...target, checkpoint: z.string() }),
  /** Puts the files back in place; when it fails the sandbox is as it was before. */
  z.object({ op: z.literal('checkpoint.restore'), ...target, checkpoint: z.string() }),
  /** Also of a hibernated sandbox. Repeated: the same answer. */
  z.object({ op: z.literal('checkpoint.delete'), ...target, checkpoint: z.string() }),
  /** Brings an image into the guest, for its container services; what is there already is not brought again. */
  z.object({ op: z.literal('guest.image'), ...target, image: z.string() }),
  /** Brings an image to the runner. The answer's body is NDJSON of `pullProgress`; a reset ends the pull if nobody else waits for it. `refresh`: asks the registry what the tag is now. */
  z.object({ op: z.literal('image.pull'), reference: z.string().min(1).max(512), refresh: z.boolean() }),
  z.object({ op: z.literal('image.list') }),
  /** Removes it from the runner; what uses it keeps it (`conflict`). Repeated: the same answer. */
  z.object({ op: z.literal('image.remove'), name: z.string().min(1).max(768) }),
  z.object({
    op: z.literal('guest.request'),
    ...target,
    method: z.enum(['GET', 'HEAD', 'PUT', 'POST', 'DELETE']),
    /** Path and query on the agent. */
    path: z.string().startsWith('/'),
    headers,
    /** The caller's request id, for both sides' logs. */
    request_id: z.string().optional(),
    trace,
  }),
  /** One HTTP request to a server in the sandbox. The request's body follows as DATA, the answer's after the answer's head. Counts as activity until both are over. */
  z.object({
    op: z.literal('port.request'),
    ...target,
    port,
    method: z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/),
    /** Path and query on the server, as the caller wrote them. */
    path: z.string().startsWith('/'),
    headers: headerList,
    /** Whether a body follows; without one the request has none. */
    body: z.boolean(),
    request_id: z.string().optional(),
  }),
  /** A WebSocket to a server in the sandbox. After an answer with status 101 both directions carry port messages; any other answer is the server's own, with its body. */
  z.object({
    op: z.literal('port.socket'),
    ...target,
    port,
    path: z.string().startsWith('/'),
    headers: headerList,
    /** What the caller offers, in its order. */
    protocols: z.array(z.string()).max(32),
    request_id: z.string().optional(),
  }),
])
export type EdgeCall = z.infer<typeof edgeCall>
