/** What the edge asks of a runner. Every call names the sandbox's generation: a runner that holds another one refuses with `moved`. */

import { z } from 'zod'

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
})
export type SandboxSpec = z.infer<typeof sandboxSpec>

const headers = z.record(z.string(), z.string())

export const edgeCall = z.discriminatedUnion('op', [
  z.object({ op: z.literal('sandbox.create'), ...target, spec: sandboxSpec }),
  z.object({ op: z.literal('sandbox.update'), ...target, idle_timeout: z.int().min(0) }),
  z.object({ op: z.literal('sandbox.destroy'), ...target }),
  z.object({ op: z.literal('sandbox.stats'), ...target }),
  z.object({
    op: z.literal('guest.request'),
    ...target,
    method: z.enum(['GET', 'HEAD', 'PUT', 'POST', 'DELETE']),
    /** Path and query on the agent. */
    path: z.string().startsWith('/'),
    headers,
    /** The caller's request id, for both sides' logs. */
    request_id: z.string().optional(),
  }),
])
export type EdgeCall = z.infer<typeof edgeCall>
