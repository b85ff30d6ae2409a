/** What a runner tells the edge by itself. */

import { z } from 'zod'
import { sandboxStates } from '../lifecycle.ts'
import { usage } from '../usage.ts'

const sandboxNow = z.object({ sandbox: z.string(), generation: z.int(), state: z.enum(sandboxStates) })

export const runnerStatus = z.object({
  op: z.literal('runner.status'),
  /** Changes with every start of the runner's process. */
  session: z.string(),
  version: z.string(),
  accelerator: z.enum(['kvm', 'tcg']),
  draining: z.boolean(),
  vcpus: z.int(),
  /** What may still be given to new sandboxes. */
  free_mem_mib: z.int(),
  free_slots: z.int(),
  images: z.array(z.string()),
  sandboxes: z.array(sandboxNow),
})
export type RunnerStatus = z.infer<typeof runnerStatus>

export const sandboxEvent = z.object({
  op: z.literal('sandbox.event'),
  sandbox: z.string(),
  generation: z.int(),
  state: z.enum(sandboxStates),
  /** One line, for states that need one. */
  reason: z.string().optional(),
  usage: usage.optional(),
})
export type SandboxEventMessage = z.infer<typeof sandboxEvent>

export const runnerCall = z.discriminatedUnion('op', [runnerStatus, sandboxEvent])
export type RunnerCall = z.infer<typeof runnerCall>
