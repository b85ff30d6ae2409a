/** What a runner tells the edge by itself. */

import { z } from 'zod'
import { sandboxStates } from '../lifecycle.ts'
import { usage } from '../usage.ts'
import { runnerPolicy } from './images.ts'

const sandboxNow = z.object({ sandbox: z.string(), generation: z.int(), state: z.enum(sandboxStates) })

/** All that a runner has. */
export const sandboxList = z.array(sandboxNow)

/** Above what any host has: a runner that states more is broken, and would take every sandbox of its region. */
const most = { memMib: 33_554_432, vcpus: 65_536, slots: 1_048_576 } as const

/**
 * Rises with whatever one process of a runner tells of itself, so that of two messages the later one is known however they arrive: of
 * generation 2.
 */
const sequence = z.int().min(1).optional()

/** The head of a status. Its list of sandboxes is in the stream's body where `body` says so: `status-list.ts`. */
export const runnerStatus = z.object({
  op: z.literal('runner.status'),
  /** Changes with every start of the runner's process. */
  session: z.string(),
  sequence,
  version: z.string(),
  accelerator: z.enum(['kvm', 'tcg']),
  draining: z.boolean(),
  vcpus: z.int().max(most.vcpus),
  /** All that it gives to sandboxes together, used or not. The fields with a default are of generation 2. */
  total_mem_mib: z.int().min(0).max(most.memMib).default(0),
  /** vCPUs that may still be given away, which may be more than the host has; by default as many as a place each. */
  free_vcpus: z.int().min(0).max(most.vcpus).optional(),
  /** The load of the host in the last minute, per core. */
  load: z.number().min(0).default(0),
  /** Machines that stand ready, by image as callers write it. */
  warm: z.record(z.string(), z.int().min(0)).default({}),
  /** What may still be given to new sandboxes. */
  free_mem_mib: z.int().max(most.memMib),
  free_slots: z.int().max(most.slots),
  images: z.array(z.string()),
  policy: runnerPolicy.optional(),
  sandboxes: sandboxList.optional(),
  body: z.literal('sandboxes').optional(),
})
export type RunnerStatusHead = z.infer<typeof runnerStatus>

/** A status with its list, wherever that came. */
export type RunnerStatus = Omit<RunnerStatusHead, 'body' | 'sandboxes'> & {
  readonly sandboxes: z.infer<typeof sandboxList>
}

export const sandboxEvent = z.object({
  op: z.literal('sandbox.event'),
  sequence,
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

/** A call of a runner, complete. */
export type RunnerNews = RunnerStatus | SandboxEventMessage
